#include "core/ops/cpu/onednn.hpp"

#include <map>
#include <oneapi/dnnl/dnnl.hpp>
#include <tuple>

#include "core/ops/cpu/parallel.hpp"

namespace viaduct::ops::cpu {
namespace {

using Layout = dnnl::memory::format_tag;
using Description = dnnl::memory::desc;
using Type = dnnl::memory::data_type;

const dnnl::engine& engine() {
  static const dnnl::engine e(dnnl::engine::kind::cpu, 0);
  return e;
}
dnnl::stream& stream() {
  thread_local dnnl::stream s(engine());
  return s;
}
bool has(dnnl::cpu_isa isa) { return int(dnnl::get_effective_cpu_isa()) >= int(isa); }

template <class T>
constexpr Type type_of = std::is_same_v<T, bf16> ? Type::bf16 : Type::f32;

Description matrix(int64_t rows, int64_t columns, Type type, Layout layout = Layout::ab) {
  return {{rows, columns}, type, layout};
}
Layout layout_of(bool transposed) { return transposed ? Layout::ba : Layout::ab; }

dnnl::memory view(const Description& d, const void* data) {
  return {d, engine(), const_cast<void*>(data)};  // the library has no read-only memory; sources are not written
}

// Calls f and turns the library's exception into ours.
template <class F>
decltype(auto) guarded(F&& f) {
  try {
    return f();
  } catch (const dnnl::error& e) {
    fail(Exit::crash, fmt::format("oneDNN could not multiply matrices: {}", e.message));
  }
}

struct Product {
  dnnl::matmul::primitive_desc description;
  dnnl::matmul run;
};

// `bias`: how long it is; 0: there is none.
Product make_product(const Description& a, const Description& b, const Description& c, int64_t bias, bool accumulate) {
  dnnl::primitive_attr attributes;
  if (accumulate) {
    dnnl::post_ops add;
    add.append_sum();
    attributes.set_post_ops(add);
  }
  Description row = bias ? matrix(1, bias, Type::bf16) : Description();
#if DNNL_VERSION_MAJOR >= 3
  dnnl::matmul::primitive_desc d(engine(), a, b, row, c, attributes);
#else
  dnnl::matmul::primitive_desc d(dnnl::matmul::desc(a, b, row, c), attributes, engine());
#endif
  return {d, dnnl::matmul(d)};
}

// The product of one shape and kind, made once per thread, because it owns scratch memory. The library shares the
// generated code between threads.
template <class Key, class Make>
const Product* cached(const Key& key, Make make) {
  thread_local std::map<Key, Product> products;
  auto found = products.find(key);
  if (found == products.end()) found = products.emplace(key, make()).first;
  return &found->second;
}

Description packed_description(int64_t k, int64_t n) {
  constexpr int64_t kRows = 1024;  // any number gives the same layout
  const Product* p = cached(std::tuple(k, n), [=] {
    return make_product(matrix(kRows, k, Type::bf16), matrix(k, n, Type::bf16, Layout::any),
                        matrix(kRows, n, Type::bf16), 0, false);
  });
  return p->description.weights_desc();
}

dnnl::status sgemm(float* c, int64_t ldc, int64_t m, int64_t n, int64_t k, Stored<float> a, int64_t lda,
                   Stored<float> b, int64_t ldb, bool accumulate) {
  return dnnl::sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', m, n, k, 1.0f, a.data, lda, b.data, ldb,
                     accumulate ? 1.0f : 0.0f, c, ldc);
}

}  // namespace

// Weights are read where they lie: measured, packing them beforehand gains nothing in fp32, and costs a copy a step.
void product(float* c, int64_t m, int64_t n, int64_t k, Stored<float> a, Stored<float> b, bool accumulate) {
  auto expect_done = [](bool done) { expect(done, "oneDNN multiplies fp32 matrices of any size"); };
  int64_t lda = a.transposed ? m : k, ldb = b.transposed ? k : n;
  static const bool whole = has(dnnl::cpu_isa::avx512_core);
  if (whole) return expect_done(sgemm(c, n, m, n, k, a, lda, b, ldb, accumulate) == dnnl::status::success);
  // On older machines the library may split the sum over k among threads: fixed blocks of c, one thread each, do not.
  constexpr int64_t kSide = 256;
  int64_t across = ceil_div(n, kSide);
  bool done = true;
#pragma omp parallel for schedule(dynamic) reduction(&& : done)  // an exception may not leave the region
  for (int64_t block = 0; block < ceil_div(m, kSide) * across; ++block) {
    int64_t i = block / across * kSide, j = block % across * kSide;
    Stored<float> rows{a.data + (a.transposed ? i : i * k), a.transposed};
    Stored<float> columns{b.data + (b.transposed ? j * k : j), b.transposed};
    dnnl::status s =
        sgemm(c + i * n + j, n, std::min(kSide, m - i), std::min(kSide, n - j), k, rows, lda, columns, ldb, accumulate);
    done = done && s == dnnl::status::success;
  }
  expect_done(done);
}

bool has_bf16_products() {
  static const bool yes = has(dnnl::cpu_isa::avx512_core_amx);
  return yes;
}

int64_t packed_bytes(int64_t k, int64_t n) {
  return guarded([=] { return int64_t(packed_description(k, n).get_size()); });
}

void pack(void* packed, int64_t k, int64_t n, Stored<bf16> b) {
  guarded([=] {
    dnnl::memory from = view(matrix(k, n, Type::bf16, layout_of(b.transposed)), b.data);
    dnnl::memory to = view(packed_description(k, n), packed);
    dnnl::reorder(from, to).execute(stream(), from, to);
  });
}

template <class T>
void product_packed(T* c, int64_t m, int64_t n, int64_t k, const bf16* a, const void* packed_b, const bf16* bias,
                    bool accumulate) {
  guarded([=] {
    const Product* p = cached(std::tuple(m, n, k, type_of<T>, bias != nullptr, accumulate), [=] {
      return make_product(matrix(m, k, Type::bf16), packed_description(k, n), matrix(m, n, type_of<T>), bias ? n : 0,
                          accumulate);
    });
    std::unordered_map<int, dnnl::memory> arguments{{DNNL_ARG_SRC, view(p->description.src_desc(), a)},
                                                    {DNNL_ARG_WEIGHTS, view(p->description.weights_desc(), packed_b)},
                                                    {DNNL_ARG_DST, view(p->description.dst_desc(), c)}};
    if (bias) arguments.emplace(DNNL_ARG_BIAS, view(p->description.bias_desc(), bias));
    p->run.execute(stream(), arguments);
  });
}
template void product_packed(float*, int64_t, int64_t, int64_t, const bf16*, const void*, const bf16*, bool);
template void product_packed(bf16*, int64_t, int64_t, int64_t, const bf16*, const void*, const bf16*, bool);

void product_add(float* c, int64_t m, int64_t n, int64_t k, Stored<bf16> a, Stored<bf16> b) {
  guarded([=] {
    const Product* p = cached(std::tuple(m, n, k, a.transposed, b.transposed), [=] {
      return make_product(matrix(m, k, Type::bf16, layout_of(a.transposed)),
                          matrix(k, n, Type::bf16, layout_of(b.transposed)), matrix(m, n, Type::f32), 0, true);
    });
    p->run.execute(stream(), {{DNNL_ARG_SRC, view(p->description.src_desc(), a.data)},
                              {DNNL_ARG_WEIGHTS, view(p->description.weights_desc(), b.data)},
                              {DNNL_ARG_DST, view(p->description.dst_desc(), c)}});
  });
}

}  // namespace viaduct::ops::cpu
