#include "app/host_info.hpp"

#include <sys/statvfs.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include "core/ops/fast_products.hpp"
#include "core/ops/linear.hpp"
#include "core/ops/workspace.hpp"

namespace viaduct::app {
namespace {

constexpr int kRepeats = 5;
constexpr double kEnoughSeconds = 0.5;  // of one measurement; slow machines repeat less

std::string cpuinfo(const std::string& key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key)) return line.substr(line.find(':') + 2);
  return "unknown";
}

template <class F>
double best_seconds(F&& f) {
  f();  // packs weights and touches pages
  double best = 1e30, all = 0;
  for (int i = 0; i < kRepeats && all < kEnoughSeconds; ++i) {
    auto start = std::chrono::steady_clock::now();
    f();
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::min(best, seconds), all += seconds;
  }
  return best;
}

double product_rate(int64_t m, int64_t n, int64_t k, DType dtype) {
  int64_t bytes = (m * n + m * k + n * k) * size_of(dtype) + 4096;
  Workspace work(Device::cpu(), 2 * bytes, dtype);
  Buffer weight(Device::cpu(), n * k * size_of(dtype));
  auto scope = work.arena.scope("rate");
  Tensor x = work.arena.temp({m, k}, dtype), y = work.arena.temp({m, n}, dtype);
  std::memset(x.data, 0, size_t(x.bytes()));
  double seconds = best_seconds([&] { ops::linear(work.ctx, y, x, weight.view(0, {n, k}, dtype)); });
  return 2.0 * double(m) * double(n) * double(k) / seconds;
}

}  // namespace

std::string cpu_model() { return cpuinfo("model name"); }

std::string cpu_features() {
  std::istringstream flags(cpuinfo("flags"));
  std::string found;
  for (std::string flag; flags >> flag;)
    for (const char* wanted : {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile"})
      if (flag == wanted) found += (found.empty() ? "" : " ") + flag;
  return found;
}

int64_t free_bytes(const char* folder) {
  struct statvfs info {};
  return ::statvfs(folder, &info) == 0 ? int64_t(info.f_bavail) * int64_t(info.f_frsize) : -1;
}

ProductRate measure_products() {
  ProductRate rate;
  for (auto [m, n, k] :
       {std::array<int64_t, 3>{1024, 1024, 1024}, {1576, 3072, 768}}) {  // a square, and ViT-B at batch 8
    rate.fp32 = std::max(rate.fp32, product_rate(m, n, k, DType::f32));
    if (ops::has_fast_bf16_products(Device::cpu())) rate.bf16 = std::max(rate.bf16, product_rate(m, n, k, DType::bf16));
  }
  return rate;
}

double measure_copy() {
  constexpr int64_t kBytes = 256 << 20;  // beyond every cache
  Buffer from(Device::cpu(), kBytes), to(Device::cpu(), kBytes);
  std::memset(from.data(), 1, kBytes);
  double seconds = best_seconds([&] {
#pragma omp parallel for
    for (int64_t i = 0; i < kBytes / 4096; ++i)
      std::memcpy(static_cast<char*>(to.data()) + 4096 * i, static_cast<const char*>(from.data()) + 4096 * i, 4096);
  });
  return double(kBytes) / seconds;
}

}  // namespace viaduct::app
