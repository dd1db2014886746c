// Products of sizes at which they are cut into slices, blocks and tiles, with edges everywhere.
#include "core/ops/cpu/matrix_product.hpp"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
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
    size_t bytes = size_t(product_scratch<T>(s.m, s.n, s.k)) * sizeof(T);
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
  const Sizes sizes[] = {{2060, 77, 150}, {781, 96, 1027}, {2050, 2065, 129}, {2100, 40, 1051},
                         {5, 7, 3},       {1, 300, 70},    {13, 40, 2100}};
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

// The last `rows` of the product, made without the others.
template <class T>
Operands<T> last_rows(const Operands<T>& all, int64_t rows) {
  Operands<T> some({rows, all.s.n, all.s.k}, false, all.right.transposed);
  std::copy(all.a.end() - rows * all.s.k, all.a.end(), some.a.begin());
  std::copy(all.matrix.end() - rows * all.s.n, all.matrix.end(), some.matrix.begin());
  return some;
}

template <class T>
void expect_rows_alone() {
  for (auto [n, k] : {std::pair(1, 37), {24, 50}, {77, 150}, {96, 1027}, {2065, 129}, {768, 768}})
    for (bool b_transposed : {false, true}) {
      const Operands<T> all({2060, n, k}, false, b_transposed);
      const std::vector<T> c = all.product(2);
      for (int64_t rows : {1, 2, 7, 13, 400, 767, 768, 2000}) {
        const std::vector<T> some = last_rows(all, rows).product(2);
        ASSERT_TRUE(std::equal(some.begin(), some.end(), c.end() - rows * n))
            << rows << " rows, n " << n << ", k " << k;
      }
    }
}

TEST(MatrixProduct, TheBitsOfARowAreThoseOfThatRowAlone) {
  expect_rows_alone<float>();
  expect_rows_alone<double>();
}

// m grows with the batch, or k in the gradient of a weight. Or a plan for a whole batch would not hold a smaller one.
TEST(MatrixProduct, WorkingMemoryNeverShrinksWithTheNumberOfRows) {
  int before = omp_get_max_threads();
  for (int threads : {1, 2, 3, 64}) {
    omp_set_num_threads(threads);
    for (int64_t width : {1, 100, 768, 3072}) {
      int64_t last = 0, last_of_weight = 0;
      for (int64_t rows = 1; rows < 20000; rows += 1 + rows / 100) {
        int64_t elements = product_scratch<float>(rows, width, 768),
                of_weight = product_scratch<float>(768, width, rows);
        ASSERT_GE(elements, last) << rows << " rows of " << width << ", " << threads << " threads";
        ASSERT_GE(of_weight, last_of_weight) << "a weight of " << rows << " rows, " << threads << " threads";
        last = elements, last_of_weight = of_weight;
      }
    }
  }
  omp_set_num_threads(before);
}

TEST(MatrixProduct, IsRightAtEveryEdgeAndForAnyNumberOfThreadsInFp32) { expect_products<float>(1e-4); }
TEST(MatrixProduct, IsRightAtEveryEdgeAndForAnyNumberOfThreadsInFp64) { expect_products<double>(1e-11); }

}  // namespace
}  // namespace viaduct::test
