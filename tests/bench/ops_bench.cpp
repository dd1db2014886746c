// The measured rows of the case table: time, bytes a second and their share of what a plain copy reaches on this
// machine; for products also operations a second and their share of the library's plain fp32 product. Operands that fit
// a cache can pass 100 %. Threads are OpenMP's.
#include <benchmark/benchmark.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "core/base/range.hpp"
#include "core/ops/cpu/onednn.hpp"
#include "tests/support/op_case.hpp"
#include "tests/support/test_ctx.hpp"

namespace viaduct::test {
namespace {

using Clock = std::chrono::steady_clock;

// Bytes read and written per second by one memcpy a thread, long enough to bypass the caches: the best of ten.
double copy_bandwidth() {
  constexpr int64_t kBytes = 512 << 20;
  Buffer from(Device::cpu(), kBytes), to(Device::cpu(), kBytes);
  std::memset(from.data(), 1, kBytes);  // an untouched page would be one cached page of zeros
  double best = 0;
  for (int repeat = 0; repeat < 10; ++repeat) {
    auto begin = Clock::now();
#pragma omp parallel
    {
      Range part = split_evenly(kBytes, omp_get_thread_num(), omp_get_num_threads());
      std::memcpy(static_cast<char*>(to.data()) + part.begin, static_cast<char*>(from.data()) + part.begin,
                  size_t(part.size()));
    }
    best = std::max(best, double(2 * kBytes) / std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return best;
}

// Operations per second of the library's fp32 product of the widest layer of ViT-B, and nothing else: the best of ten.
double product_rate() {
  constexpr int64_t m = 1576, n = 3072, k = 768;
  std::vector<float> a(m * k, 0.5f), b(k * n, 0.5f), c(m * n);
  double best = 0;
  for (int repeat = 0; repeat < 10; ++repeat) {
    auto begin = Clock::now();
    ops::cpu::product(c.data(), m, n, k, {a.data()}, {b.data(), true}, false);
    best = std::max(best, 2.0 * m * n * k / std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return best;
}

struct Roofs {
  double copy, product;
};

void measure(benchmark::State& state, const OpCase& c, DType dtype, Roofs roofs) {
  OperandMemory memory(c, dtype);
  TestCtx ctx(dtype, Device::cpu(), 256 << 20);
  c.run(ctx, memory.tensors());
  auto begin = Clock::now();
  for (auto _ : state) c.run(ctx, memory.tensors());
  double rate = double(state.iterations()) / std::chrono::duration<double>(Clock::now() - begin).count();
  state.counters["GB/s"] = double(c.bytes(dtype)) * rate / 1e9;
  state.counters["copy%"] = 100 * double(c.bytes(dtype)) * rate / roofs.copy;
  if (c.flops == 0) return;
  state.counters["GF/s"] = c.flops * rate / 1e9;
  state.counters["product%"] = 100 * c.flops * rate / roofs.product;
}

}  // namespace
}  // namespace viaduct::test

int main(int argc, char** argv) {
  using namespace viaduct;
  using namespace viaduct::test;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  Roofs roofs{copy_bandwidth(), product_rate()};
  benchmark::AddCustomContext("copy", fmt::format("{:.1f} GB/s read and written", roofs.copy / 1e9));
  benchmark::AddCustomContext("product", fmt::format("{:.1f} GF/s in fp32", roofs.product / 1e9));
  for (const OpCase& c : case_table()) {
    if (!c.bench) continue;
    for (DType dtype : c.dtypes)
      if (dtype != DType::f64)
        benchmark::RegisterBenchmark(fmt::format("{}/{}", c.name, name_of(dtype)).c_str(),
                                     [&c, dtype, roofs](benchmark::State& s) { measure(s, c, dtype, roofs); })
            ->UseRealTime()
            ->Unit(benchmark::kMillisecond);
  }
  benchmark::RunSpecifiedBenchmarks();
}
