// What the CPU keeps of weights between products: a rearranged copy per weight and use, renewed when the values
// changed. fp32 products read weights where they are (measured as fast as from packed ones); bf16 products need a copy.
#pragma once
#include <map>

#include "core/device/buffer.hpp"
#include "core/ops/packed_weights.hpp"

namespace viaduct::ops {

struct PackedWeights::Impl {
  enum class Use : uint8_t { forward, input_grad };

  // The copy of `weight` for `use`; fill(void*) makes it where there is none of the present values. On meta there is
  // nothing to fill and nothing to return.
  template <class Fill>
  const void* get(const Tensor& weight, Use use, int64_t bytes, Fill fill) {
    Copy& copy = copies[{weight.data, weight.shape[0], weight.shape[1], use}];
    if (copy.memory.bytes() != bytes) copy = {Buffer(device, bytes)};
    if (device.is_meta()) return nullptr;
    if (copy.version != version) fill(copy.memory.data()), copy.version = version;
    return copy.memory.data();
  }

  struct Key {
    const void* data;
    int64_t rows, columns;
    Use use;
    auto operator<=>(const Key&) const = default;
  };
  struct Copy {
    Buffer memory;
    uint64_t version = 0;
  };
  Device device;
  uint64_t version = 1;
  std::map<Key, Copy> copies{};
};

}  // namespace viaduct::ops
