#include "tests/comm/wire_steps.hpp"

#include <cmath>
#include <optional>

#include "comm/shards.hpp"
#include "core/base/hash.hpp"
#include "core/base/philox.hpp"
#include "tests/support/synced_step.hpp"

namespace viaduct::test {

SummedGradients gradients_of_step(Communicator& comm, const GradSyncOptions& options,
                                  const std::function<float(int, int64_t)>& gradient, int passes) {
  ParameterStore store;
  for (int b = 0; b < 4; ++b) {
    const std::string name = "block" + std::to_string(b);
    store.block(name, [&] { store.add(name, {40000}); });
  }
  const Range mine = optimizer_range(options.strategy, store.range(), comm.rank(), comm.size());
  std::optional<Range> kept;
  if (divides_gradients(options.strategy)) kept = mine;
  store.materialize(
      Device::cpu(), DType::f32, true, [&](Device d, int64_t bytes) { return comm.allocate(d, bytes); }, kept);
  auto sync = make_grad_sync(options, store, comm);
  SyncedStep synced(*sync);
  for (int pass = 0; pass < passes; ++pass) {
    synced.begin(pass + 1 == passes);
    for (auto block = store.blocks().rbegin(); block != store.blocks().rend(); ++block) {
      float* to = data<float>(sync->open(*block));
      for (int64_t i = block->begin; i < block->end; ++i)
        to[i - block->begin] += gradient(comm.rank() * passes + pass, i);
      sync->ready(*block);
    }
  }
  SummedGradients found{mine, {}, synced.finish()};
  if (mine.empty()) return found;
  const float* sums = data<float>(store.grads(mine));
  found.values.assign(sums, sums + mine.size());
  return found;
}

void check_bf16(Communicator& comm, const std::string& strategy) {
  auto gradient = [](int rank, int64_t i) {
    const Philox p = philox(3, uint64_t(i), uint64_t(rank));
    return float(std::ldexp(double(int32_t(p.v[0])), -31 - int(p.v[1] % 20)));
  };
  auto found =
      gradients_of_step(comm, {.strategy = strategy, .bucket_mb = 0.05, .wire = {.type = DType::bf16}}, gradient);
  // Half a unit in the last of bf16's 8 bits, for each addend, and once for the sum; fp32 in between adds next to nothing.
  const double unit = 0x1p-8, slack = 1 + 1e-4;
  for (int64_t i = found.range.begin; i < found.range.end; ++i) {
    double exact = 0, bound = 0;
    float in_order = 0;
    for (int r = 0; r < comm.size(); ++r) {
      exact += double(gradient(r, i));
      bound += std::abs(double(gradient(r, i))) * unit;
      in_order += float(bf16(gradient(r, i)));
    }
    bound = (bound + (std::abs(exact) + bound) * unit) * slack;
    const double value = found.values[size_t(i - found.range.begin)];
    if (!(std::abs(value - exact) <= (comm.size() == 1 ? 0 : bound)))
      fail(Exit::crash, fmt::format("{}: gradient {} is {}, exactly {}", strategy, i, value, exact));
    if (comm.size() > 1)
      expect(float(value) == float(bf16(in_order)), "rounded addends are summed in rank order and rounded once");
  }
  if (found.range.size() != 4 * 40000) return;
  const std::string bytes(reinterpret_cast<const char*>(found.values.data()), found.values.size() * sizeof(float));
  for (const std::string& hash : comm.all_gather_text(xxh3_hex(bytes)))
    expect(hash == xxh3_hex(bytes), "every rank has the same sums");
}

}  // namespace viaduct::test
