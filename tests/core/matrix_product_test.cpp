// Products of sizes at which they are cut into slices, blocks and tiles, with edges everywhere.
#include "core/ops/cpu/matrix_product.hpp"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <memory>
#include <vector>

#include "core/base/philox.hpp"

namespace viaduct::test {
namespace {

using namespace ops::cpu;

template <class T>
std::vector<T> random_values(int64_t n, uint32_t seed) {
  RandomSequence random(seed, Draw::init);
  std::vector<T> values(static_cast<size_t>(n));
  for (T& v : values) v = T(random.uniform(-1, 1));
  return values;
}

struct Sizes {
  int64_t m, n, k;
};

template <class T>
struct Operands {
  Sizes s;
  std::vector<T> a = random_values<T>(s.m * s.k, 1), b = random_values<T>(s.k * s.n, 2);
  std::vector<T> matrix = random_values<T>(s.m * s.n, 3), row = random_values<T>(s.n, 4);
  Stored<T> left, right;

  Operands(Sizes sizes, bool a_transposed, bool b_transposed)
      : s(sizes), left{a.data(), a_transposed}, right{b.data(), b_transposed} {}

  // matrix + row + a b, by `threads`; each element is finished once, by doubling it.
  std::vector<T> product(int threads) const {
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    size_t bytes = size_t(product_scratch<T>(s.m, s.n, s.k, left.transposed)) * sizeof(T);
    std::unique_ptr<T, void (*)(void*)> scratch(static_cast<T*>(std::aligned_alloc(64, bytes / 64 * 64 + 64)),
                                                std::free);
    std::vector<T> c = matrix;
    cpu_product(scratch.get(), c.data());
    omp_set_num_threads(before);
    return c;
  }
  void cpu_product(T* scratch, T* c) const {
    ops::cpu::product<T>(scratch, c, s.m, s.n, s.k, left, right, {c, row.data()},
                         [=, n = s.n](Range rows, Range columns) {
                           for (int64_t i = rows.begin; i < rows.end; ++i)
                             for (int64_t j = columns.begin; j < columns.end; ++j) c[i * n + j] *= 2;
                         });
  }
  double expected(int64_t i, int64_t j) const {
    double sum = double(matrix[size_t(i * s.n + j)]) + double(row[size_t(j)]);
    for (int64_t l = 0; l < s.k; ++l)
      sum += double(a[size_t(left.transposed ? l * s.m + i : i * s.k + l)]) *
             double(b[size_t(right.transposed ? j * s.k + l : l * s.n + j)]);
    return 2 * sum;
  }
};

template <class T>
void expect_products(double tolerance) {
  const Sizes sizes[] = {{2060, 77, 150}, {781, 96, 1027}, {2050, 2065, 129}, {2100, 40, 1051}, {5, 7, 3}};
  for (Sizes s : sizes)
    for (bool a_transposed : {false, true})
      for (bool b_transposed : {false, true}) {
        Operands<T> o(s, a_transposed, b_transposed);
        std::vector<T> c = o.product(1);
        for (int64_t i = 0; i < s.m; i += 1 + i % 7)  // also the last row and column
          for (int64_t j = i % 2; j < s.n; j += 1 + s.n / 50)
            ASSERT_NEAR(double(c[size_t(i * s.n + j)]), o.expected(i, j), tolerance) << i << ", " << j << ", k " << s.k;
        ASSERT_NEAR(double(c.back()), o.expected(s.m - 1, s.n - 1), tolerance);
        for (int threads : {2, 3}) ASSERT_EQ(o.product(threads), c) << threads << " threads, k " << s.k;
      }
}

// Of m > n, where m grows with the batch. Or a plan for a whole batch would not hold a smaller one.
TEST(MatrixProduct, WorkingMemoryNeverShrinksWithTheNumberOfRows) {
  int before = omp_get_max_threads();
  for (int threads : {1, 2, 3, 64}) {
    omp_set_num_threads(threads);
    int64_t last = 0;
    for (int64_t m = 1024; m < 40000; m += 7) {
      int64_t elements = product_scratch<float>(m, 768, 768, false);
      ASSERT_GE(elements, last) << m << " rows, " << threads << " threads";
      last = elements;
    }
  }
  omp_set_num_threads(before);
}

TEST(MatrixProduct, IsRightAtEveryEdgeAndForAnyNumberOfThreadsInFp32) { expect_products<float>(1e-4); }
TEST(MatrixProduct, IsRightAtEveryEdgeAndForAnyNumberOfThreadsInFp64) { expect_products<double>(1e-11); }

}  // namespace
}  // namespace viaduct::test
