// Which implementation of an op runs: that of the context's device.
#pragma once
#include "core/device/context.hpp"
#include "core/device/cuda/runtime.hpp"

namespace viaduct::ops {

// What `cpu` or `cuda` returns: that of the device's kind or, on meta, of the kind that is planned for. Without CUDA in
// the build nothing of `cuda` is even compiled.
template <class Cpu, class Cuda>
decltype(auto) of_backend(const Ctx& ctx, Cpu&& cpu, Cuda&& cuda) {
  if (ctx.device().backend() == Device::Kind::cpu) return cpu();
  if constexpr (viaduct::cuda::kBuilt)
    return cuda();
  else
    viaduct::cuda::fail_not_built();
}

// Runs it; on meta nothing runs, because shapes were all that was asked for.
template <class Cpu, class Cuda>
void run_on_device(Ctx& ctx, Cpu&& cpu, Cuda&& cuda) {
  if (!ctx.device().is_meta()) of_backend(ctx, cpu, cuda);
}

// For an op with working memory that only its backend knows: on meta it runs too, asks for the same memory there and
// stops before it touches data.
template <class Cpu, class Cuda>
void run_or_plan(Ctx& ctx, Cpu&& cpu, Cuda&& cuda) {
  of_backend(ctx, cpu, cuda);
}

}  // namespace viaduct::ops
