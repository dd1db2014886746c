// cuBLASLt's stand-in against naive sums, for every layout and epilogue, and what it refuses.
#include <cublasLt.h>

#include <cmath>
#include <random>

#include "kernels.hpp"

namespace viaduct::test {
namespace {

using bfloat16 = __nv_bfloat16;

// A problem in its own words; every matrix by columns, with a leading dimension beyond its rows.
struct Case {
  int m = 24, n = 17, k = 40, batches = 1;
  bool transpose_a = false, transpose_b = false;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  float alpha = 1, beta = 0;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  size_t workspace = size_t(4) << 20;
};
bool has(const Case& c, unsigned bits) { return c.epilogue & bits; }
bool is_dgelu(const Case& c) {
  return c.epilogue == CUBLASLT_EPILOGUE_DGELU || c.epilogue == CUBLASLT_EPILOGUE_DGELU_BGRAD;
}
bool has_aux(const Case& c) { return has(c, 128); }
bool has_bias_gradient(const Case& c) { return has(c, 16 | 256 | 512); }
bool uses_bias(const Case& c) { return has(c, CUBLASLT_EPILOGUE_BIAS) || has_bias_gradient(c); }

template <class T>
std::vector<T> random_values(size_t size, unsigned seed) {
  std::mt19937 rng(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<T> v(size);
  for (auto& x : v) x = T(uniform(rng));
  return v;
}
template <class T>
constexpr cudaDataType type_of = sizeof(T) == 4 ? CUDA_R_32F : CUDA_R_16BF;

// Operands on the device, descriptors, and the call.
template <class In, class Out>
struct Call {
  Case c;
  int64_t a_rows, a_cols, b_rows, b_cols, ld_a, ld_b, ld_d, ld_aux;
  std::vector<In> a, b;
  std::vector<Out> start, bias, aux;  // start: D before, which is C too
  DeviceArray<In> device_a, device_b;
  DeviceArray<Out> d, device_bias, device_aux;
  DeviceArray<char> workspace;
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t layout_a = nullptr, layout_b = nullptr, layout_d = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  std::vector<cublasLtMatmulHeuristicResult_t> algorithms;

  explicit Call(const Case& c)
      : c(c),
        a_rows(c.transpose_a ? c.k : c.m),
        a_cols(c.transpose_a ? c.m : c.k),
        b_rows(c.transpose_b ? c.n : c.k),
        b_cols(c.transpose_b ? c.k : c.n),
        ld_a(a_rows + 8),
        ld_b(b_rows + 3),
        ld_d(c.m + 5),
        ld_aux((c.m + 15) / 8 * 8),
        a(random_values<In>(size_t(c.batches * a_cols * ld_a), 1)),
        b(random_values<In>(size_t(c.batches * b_cols * ld_b), 2)),
        start(random_values<Out>(size_t(c.batches * c.n * ld_d), 3)),
        bias(random_values<Out>(size_t(std::max(c.m, c.n)), 4)),
        aux(random_values<Out>(size_t(c.batches * c.n * ld_aux), 5)),
        device_a(a),
        device_b(b),
        d(start),
        device_bias(bias),
        device_aux(aux),
        workspace(c.workspace + 1) {
    EXPECT_EQ(cublasLtCreate(&handle), CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(cublasLtMatmulDescCreate(&desc, c.compute, CUDA_R_32F), CUBLAS_STATUS_SUCCESS);
    set(CUBLASLT_MATMUL_DESC_TRANSA, int32_t(c.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N));
    set(CUBLASLT_MATMUL_DESC_TRANSB, int32_t(c.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N));
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, uint32_t(c.epilogue));
    if (uses_bias(c)) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<void*>(device_bias.data()));
    if (has_aux(c)) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, static_cast<void*>(device_aux.data()));
      set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, ld_aux);
      set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE, c.n * ld_aux);
    }
    layout_a = layout(type_of<In>, a_rows, a_cols, ld_a), layout_b = layout(type_of<In>, b_rows, b_cols, ld_b);
    layout_d = layout(type_of<Out>, c.m, c.n, ld_d);
    EXPECT_EQ(cublasLtMatmulPreferenceCreate(&preference), CUBLAS_STATUS_SUCCESS);
    uint64_t bytes = c.workspace;
    EXPECT_EQ(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, 8),
              CUBLAS_STATUS_SUCCESS);
  }
  ~Call() {
    cublasLtMatmulPreferenceDestroy(preference), cublasLtMatmulDescDestroy(desc), cublasLtDestroy(handle);
    for (auto l : {layout_a, layout_b, layout_d}) cublasLtMatrixLayoutDestroy(l);
  }
  Call(const Call&) = delete;

  template <class V>
  void set(cublasLtMatmulDescAttributes_t attribute, V value) {
    EXPECT_EQ(cublasLtMatmulDescSetAttribute(desc, attribute, &value, sizeof value), CUBLAS_STATUS_SUCCESS);
  }
  cublasLtMatrixLayout_t layout(cudaDataType type, int64_t rows, int64_t cols, int64_t ld) {
    cublasLtMatrixLayout_t l;
    EXPECT_EQ(cublasLtMatrixLayoutCreate(&l, type, uint64_t(rows), uint64_t(cols), ld), CUBLAS_STATUS_SUCCESS);
    int32_t count = c.batches;
    int64_t stride = cols * ld;
    cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count);
    cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride);
    return l;
  }
  cublasStatus_t find_algorithms(int requested = 8) {
    algorithms.resize(size_t(requested));
    int returned = 0;
    auto s = cublasLtMatmulAlgoGetHeuristic(handle, desc, layout_a, layout_b, layout_d, layout_d, preference, requested,
                                            algorithms.data(), &returned);
    algorithms.resize(size_t(returned));
    return s;
  }
  cublasStatus_t run(const cublasLtMatmulAlgo_t* algo, size_t workspace_bytes, cudaStream_t stream = nullptr,
                     int64_t shift_a = 0) {
    return cublasLtMatmul(handle, desc, &c.alpha, device_a.data() + shift_a, layout_a, device_b.data(), layout_b,
                          &c.beta, d.data(), layout_d, d.data(), layout_d, algo, workspace.data(), workspace_bytes,
                          stream);
  }
};

double gelu(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }
double gelu_slope(double x) {
  double t = std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
}

// |found - expected| at most the roundings of k products summed in fp32, once more in the type of the output.
template <class Out>
void expect_close(float found, double expected, double size, int k, const std::string& what) {
  double output = sizeof(Out) == 4 ? 0x1p-24 : 0x1p-8;
  EXPECT_LE(std::abs(found - expected), (k + 8) * 0x1p-24 * size + output * std::abs(expected)) << what;
}

template <class In, class Out>
void expect_result(const Call<In, Out>& call) {
  const Case& c = call.c;
  auto d = call.d.get(), bias_after = call.device_bias.get(), aux_after = call.device_aux.get();
  auto a = [&](int64_t s, int i, int l) {
    int64_t row = c.transpose_a ? l : i, col = c.transpose_a ? i : l;
    return double(float(call.a[size_t((s * call.a_cols + col) * call.ld_a + row)]));
  };
  auto b = [&](int64_t s, int l, int j) {
    int64_t row = c.transpose_b ? j : l, col = c.transpose_b ? l : j;
    return double(float(call.b[size_t((s * call.b_cols + col) * call.ld_b + row)]));
  };
  std::vector<double> gradient(size_t(std::max(c.m, c.n)), 0), gradient_size(gradient);
  for (int s = 0; s < c.batches; ++s)
    for (int j = 0; j < c.n; ++j)
      for (int i = 0; i < c.m; ++i) {
        size_t at = size_t((s * c.n + j) * call.ld_d + i), at_aux = size_t((s * c.n + j) * call.ld_aux + i);
        std::string what = std::to_string(s) + ": " + std::to_string(i) + ", " + std::to_string(j);
        double x = 0, size = 0;
        for (int l = 0; l < c.k; ++l) x += a(s, i, l) * b(s, l, j), size += std::abs(a(s, i, l) * b(s, l, j));
        x = c.alpha * x + c.beta * double(float(call.start[at]));
        size = std::abs(c.alpha) * size + std::abs(c.beta * float(call.start[at]));
        if (has(c, CUBLASLT_EPILOGUE_BIAS)) x += float(call.bias[size_t(i)]), size += 1;
        if (has_aux(c) && !is_dgelu(c)) expect_close<Out>(float(aux_after[at_aux]), x, size, c.k, "aux " + what);
        if (has(c, CUBLASLT_EPILOGUE_GELU)) x = gelu(x), size = 1.2 * size + 1;  // its slope is at most 1.13
        if (c.epilogue == CUBLASLT_EPILOGUE_RELU) x = std::max(x, 0.0);
        if (is_dgelu(c)) x *= gelu_slope(float(call.aux[at_aux])), size = 1.2 * size;
        gradient[size_t(i)] += x, gradient_size[size_t(i)] += size;
        expect_close<Out>(float(d[at]), x, size, c.k, what);
      }
  for (int i = 0; i < c.m && c.epilogue == CUBLASLT_EPILOGUE_DGELU_BGRAD; ++i)
    expect_close<Out>(float(bias_after[size_t(i)]), gradient[size_t(i)], gradient_size[size_t(i)], c.k + c.n,
                      "bias gradient");
  for (int i = 0; i < c.m && c.epilogue == CUBLASLT_EPILOGUE_BGRADA; ++i) {
    double sum = 0;
    for (int l = 0; l < c.k; ++l) sum += a(0, i, l);
    expect_close<Out>(float(bias_after[size_t(i)]), sum, c.k, c.k, "gradient of A's bias");
  }
  for (int j = 0; j < c.n && c.epilogue == CUBLASLT_EPILOGUE_BGRADB; ++j) {
    double sum = 0;
    for (int l = 0; l < c.k; ++l) sum += b(0, l, j);
    expect_close<Out>(float(bias_after[size_t(j)]), sum, c.k, c.k, "gradient of B's bias");
  }
  for (int64_t i = 0; i < int64_t(d.size()); ++i)  // nothing between the columns was touched
    if (i % call.ld_d >= c.m) {
      EXPECT_EQ(float(d[size_t(i)]), float(call.start[size_t(i)]));
    }
}

template <class In, class Out>
void expect_all_algorithms_right(const Case& c) {
  Call<In, Out> call(c);
  ASSERT_EQ(call.find_algorithms(), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(call.algorithms.size(), 3u);
  for (const auto& found : call.algorithms) {
    call.d.set(call.start), call.device_bias.set(call.bias), call.device_aux.set(call.aux);
    ASSERT_EQ(call.run(&found.algo, found.workspaceSize), CUBLAS_STATUS_SUCCESS);
    expect_result(call);
  }
}
void expect_right(const Case& c) {
  SCOPED_TRACE("epilogue " + std::to_string(c.epilogue) + ", transposes " + std::to_string(c.transpose_a) +
               std::to_string(c.transpose_b) + ", batches " + std::to_string(c.batches));
  expect_all_algorithms_right<float, float>(c);
  expect_all_algorithms_right<bfloat16, bfloat16>(c);
  expect_all_algorithms_right<bfloat16, float>(c);
}

TEST(CublasLt, EveryTransposeScaleAndBatch) {
  for (bool ta : {false, true})
    for (bool tb : {false, true})
      for (int batches : {1, 3}) {
        expect_right({.batches = batches, .transpose_a = ta, .transpose_b = tb});
        expect_right({.batches = batches, .transpose_a = ta, .transpose_b = tb, .alpha = 0.5f, .beta = -2});
      }
}

TEST(CublasLt, ShapesOfOneAndAroundTheTiles) {
  for (int m : {1, 15, 16, 33})
    for (int n : {1, 4, 5})
      for (int k : {1, 3, 64}) expect_right({.m = m, .n = n, .k = k, .beta = 1});
}

TEST(CublasLt, EveryEpilogue) {
  for (auto e : {CUBLASLT_EPILOGUE_RELU, CUBLASLT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_GELU, CUBLASLT_EPILOGUE_GELU_AUX,
                 CUBLASLT_EPILOGUE_GELU_BIAS, CUBLASLT_EPILOGUE_GELU_AUX_BIAS, CUBLASLT_EPILOGUE_DGELU,
                 CUBLASLT_EPILOGUE_DGELU_BGRAD})
    for (float beta : {0.0f, 1.0f}) expect_right({.transpose_a = true, .epilogue = e, .beta = beta});
  expect_right({.epilogue = CUBLASLT_EPILOGUE_BGRADA});
  expect_right({.transpose_b = true, .epilogue = CUBLASLT_EPILOGUE_BGRADB, .beta = 1});
  expect_right({.batches = 2, .epilogue = CUBLASLT_EPILOGUE_GELU_AUX_BIAS});
}

TEST(CublasLt, Tf32RoundsItsOperands) {
  Call<float, float> exact({.m = 1, .n = 1, .k = 1}),
      rounded({.m = 1, .n = 1, .k = 1, .compute = CUBLAS_COMPUTE_32F_FAST_TF32});
  for (auto* call : {&exact, &rounded}) {
    call->a[0] = 1 + 0x1p-10f + 0x1p-13f, call->b[0] = 1;
    call->device_a.set(call->a), call->device_b.set(call->b);
    ASSERT_EQ(call->run(nullptr, 0), CUBLAS_STATUS_SUCCESS);
  }
  EXPECT_EQ(exact.d.get()[0], 1 + 0x1p-10f + 0x1p-13f);
  EXPECT_EQ(rounded.d.get()[0], 1 + 0x1p-10f);
}

TEST(CublasLt, WorkspaceLimitsTheAlgorithms) {
  Call<float, float> some({.workspace = size_t(1) << 20}), none({.workspace = 0});
  ASSERT_EQ(some.find_algorithms(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(some.algorithms.size(), 2u);
  ASSERT_EQ(none.find_algorithms(), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(none.algorithms.size(), 1u);
  EXPECT_EQ(none.algorithms[0].workspaceSize, 0u);
  ASSERT_EQ(some.find_algorithms(1), CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(some.algorithms.size(), 1u);
  size_t needed = some.algorithms[0].workspaceSize;
  ASSERT_GT(needed, 0u);
  EXPECT_EQ(some.run(&some.algorithms[0].algo, needed - 1), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(some.run(&some.algorithms[0].algo, needed), CUBLAS_STATUS_SUCCESS);
  for (char c : some.workspace.get()) ASSERT_EQ(c, char(0xff));  // the algorithm scribbles over it
}

TEST(CublasLt, RefusesWhatDoesNotFit) {
  Call<bfloat16, bfloat16> call({.transpose_a = true});
  auto status = [&] { return call.find_algorithms(); };
  ASSERT_EQ(status(), CUBLAS_STATUS_SUCCESS);
  auto algorithm = call.algorithms[0];
  EXPECT_EQ(call.run(&algorithm.algo, algorithm.workspaceSize, nullptr, 1),
            CUBLAS_STATUS_NOT_SUPPORTED);                           // unaligned A
  for (auto epilogue : {uint32_t(CUBLASLT_EPILOGUE_BGRADA), 7u}) {  // of a transposed A, and one that is none
    call.set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    EXPECT_EQ(status(), CUBLAS_STATUS_NOT_SUPPORTED);
  }
  call.set(CUBLASLT_MATMUL_DESC_EPILOGUE, uint32_t(CUBLASLT_EPILOGUE_GELU_AUX));
  call.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, int64_t(25));
  EXPECT_EQ(status(), CUBLAS_STATUS_NOT_SUPPORTED);  // not a multiple of 8
  call.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, int64_t(24));
  EXPECT_EQ(status(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(call.run(nullptr, 0), CUBLAS_STATUS_INVALID_VALUE);  // no pointer to it
  call.set(CUBLASLT_MATMUL_DESC_EPILOGUE, uint32_t(CUBLASLT_EPILOGUE_BIAS));
  EXPECT_EQ(call.run(nullptr, 0), CUBLAS_STATUS_INVALID_VALUE);  // no pointer to it
  EXPECT_EQ(call.run(&algorithm.algo, algorithm.workspaceSize),
            CUBLAS_STATUS_NOT_SUPPORTED);  // found for another product
  call.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, int32_t(CUDA_R_32F));
  EXPECT_EQ(status(), CUBLAS_STATUS_NOT_SUPPORTED);  // a bias has the type of D
  call.set(CUBLASLT_MATMUL_DESC_EPILOGUE, uint32_t(CUBLASLT_EPILOGUE_DEFAULT));
  call.set(CUBLASLT_MATMUL_DESC_TRANSA, int32_t(CUBLAS_OP_N));
  EXPECT_EQ(status(), CUBLAS_STATUS_INVALID_VALUE);  // shapes that do not fit
  uint32_t too_short = 1;
  EXPECT_EQ(cublasLtMatmulDescSetAttribute(call.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &too_short, 4),
            CUBLAS_STATUS_INVALID_VALUE);
  Call<float, float> mixed({});
  uint32_t bf16 = CUDA_R_16BF;
  cublasLtMatrixLayoutSetAttribute(mixed.layout_d, CUBLASLT_MATRIX_LAYOUT_TYPE, &bf16, 4);
  EXPECT_EQ(mixed.find_algorithms(), CUBLAS_STATUS_NOT_SUPPORTED);  // fp32 operands have an fp32 product
}

TEST(CublasLt, OperandsMustLieOnTheDevice) {
  Call<float, float> call({});
  std::vector<float> host(4096);
  float one = 1, zero = 0;
  EXPECT_DEATH((void)cublasLtMatmul(call.handle, call.desc, &one, host.data(), call.layout_a, call.device_b.data(),
                                    call.layout_b, &zero, call.d.data(), call.layout_d, call.d.data(), call.layout_d,
                                    nullptr, nullptr, 0, nullptr),
               "A of cublasLtMatmul is not device memory");
  uint64_t more = 18;
  cublasLtMatrixLayoutSetAttribute(call.layout_d, CUBLASLT_MATRIX_LAYOUT_COLS, &more, 8);
  cublasLtMatrixLayoutSetAttribute(call.layout_b, CUBLASLT_MATRIX_LAYOUT_COLS, &more, 8);
  EXPECT_DEATH((void)call.run(nullptr, 0), "B of cublasLtMatmul reach beyond");
}

TEST(CublasLt, ProductsAreCaptured) {
  Call<float, float> call({});
  OwnStream stream;
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
  ASSERT_EQ(call.run(nullptr, 0, stream), CUBLAS_STATUS_SUCCESS);
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
  EXPECT_EQ(call.d.get(), call.start);
  call.b = random_values<float>(call.b.size(), 77);
  call.device_b.set(call.b);
  ASSERT_EQ(cudaGraphLaunch(exec, stream), cudaSuccess);
  expect_result(call);
  cudaGraphExecDestroy(exec), cudaGraphDestroy(graph);
}

}  // namespace
}  // namespace viaduct::test
