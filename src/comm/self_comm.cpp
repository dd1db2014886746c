#include "comm/self_comm.hpp"

#include <cstring>

namespace viaduct {

void SelfComm::copy(const Tensor& to, const Tensor& from) {
  expect(to.dtype == from.dtype && to.numel() == from.numel(), "in a world of one a shard is the whole");
  if (to.data != from.data && !to.device.is_meta()) std::memcpy(to.data, from.data, size_t(to.bytes()));
}

}  // namespace viaduct
