// Ranks that exchange tensors. Collectives are ordered on the given stream; every rank makes the same calls in the same
// order. Implementations: SelfComm (one rank), MpiComm (host memory over MPI), NcclComm (device
// memory over NCCL, the rest by MpiComm), ThreadComm (ranks as threads, for
// tests).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/base/range.hpp"
#include "core/device/buffer.hpp"
#include "core/device/stream.hpp"

namespace viaduct {

enum class Reduce : uint8_t { sum, max, min };

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual const char* name(Device) const = 0;  // what carries tensors of it: "mpi", "nccl", ...; printed at start
  virtual bool carries(Device device) const { return !device.is_cuda(); }
  // What a watching thread should know that no call has said; empty: nothing.
  virtual std::string trouble() const { return {}; }

  // Sums of bf16 are formed in fp32 in the order of the ranks and rounded once.
  virtual void all_reduce(Tensor, Reduce, Stream&) = 0;                         // in place
  virtual void reduce_scatter(Tensor shard, Tensor full, Reduce, Stream&) = 0;  // full = size() x shard
  virtual void all_gather(Tensor full, Tensor shard, Stream&) = 0;
  // parts: a range of the flat tensor for each rank, in order, some perhaps empty. In place: rank r gets the reduced
  // elements of parts[r] (the others are left as they are); or every rank gets each part from its rank.
  virtual void reduce_parts(Tensor, const std::vector<Range>& parts, Reduce, Stream&) = 0;
  virtual void gather_parts(Tensor, const std::vector<Range>& parts, Stream&) = 0;
  virtual void broadcast(Tensor, int root, Stream&) = 0;
  virtual void barrier() = 0;
  // Waits for a stream among whose work may be collectives.
  virtual void wait(Stream& stream) { stream.synchronize(); }

  // The control plane: small host data of any length, in rank order on every rank; seldom called.
  virtual std::vector<std::string> all_gather_text(const std::string& mine) = 0;
  std::string broadcast_text(const std::string& mine, int root) {
    return all_gather_text(root == rank() ? mine : "").at(root);
  }

  // The same ranks with a context of their own, so that a thread's collectives never meet another thread's.
  virtual std::unique_ptr<Communicator> duplicate() = 0;
  // Where flat parameter and gradient buffers come from (rule R6).
  virtual Buffer allocate(Device device, int64_t bytes) { return Buffer(device, bytes); }
};

}  // namespace viaduct
