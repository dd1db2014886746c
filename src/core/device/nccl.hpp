// NCCL's collectives on device memory, without its headers. The library is loaded when it is first used.
#pragma once
#include <functional>
#include <string>

#include "core/device/stream.hpp"

namespace viaduct::nccl {

enum class Reduce : uint8_t { sum, max, min };

// One rank makes an id and hands it to all, who connect() with it, each on the device that is its thread's; collective.
std::string new_id();
void* connect(const std::string& id, int ranks, int rank);
void close(void* comm);             // collective; what was submitted has been waited for
void abandon(void* comm) noexcept;  // without the others
// What failed without a call to say so (a peer, the network); empty: nothing.
std::string trouble(void* comm);

// Each is work of the stream. Tensors are dense, on the device; dtypes fp32, bf16 and fp64.
void all_reduce(void* comm, Tensor, Reduce, Stream&);  // in place
void reduce_scatter(void* comm, Tensor shard, Tensor full, Reduce, Stream&);
void all_gather(void* comm, Tensor full, Tensor shard, Stream&);
void reduce(void* comm, Tensor, Reduce, int root, Stream&);  // in place, on the root
void broadcast(void* comm, Tensor, int root, Stream&);
// The calls of `several` as one operation.
void together(const std::function<void()>& several);

}  // namespace viaduct::nccl
