// The ranks of one host, which reduce straight in each other's memory: no copies, no messages, and a rank that waits
// sleeps.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/peer_memory.hpp"
#include "core/base/range.hpp"

namespace viaduct {

class HostGroup {
 public:
  // Collective over `comm`, whose ranks are all on this host. Null on every rank if one of them cannot map the others'
  // memory.
  static std::unique_ptr<HostGroup> make(Communicator& comm);

  // Collective; see Communicator. False on every rank, and nothing done, if the tensor of any rank lies outside of
  // `buffers` or cannot be mapped. Sums are formed in rank order: the same bits whoever forms them.
  bool all_reduce(const Tensor&, Reduce, PeerBuffers& buffers);
  bool reduce_parts(const Tensor&, const std::vector<Range>& parts, Reduce, PeerBuffers& buffers);
  bool gather_parts(const Tensor&, const std::vector<Range>& parts, PeerBuffers& buffers);

 private:
  struct Control;
  struct Slot;
  HostGroup(PeerMemory control, int rank, int size) : control_(std::move(control)), rank_(rank), size_(size) {}
  Control& control() const;
  Slot& slot(int rank) const;
  void meet();
  // Where each rank's tensor lies, on all ranks or on none. What is done with them ends with another meeting.
  std::vector<void*> meet_with(const Tensor&, PeerBuffers&);
  std::byte* map(const PeerBuffers::Place&);  // of a peer; null if it cannot be reached

  PeerMemory control_;
  int rank_, size_;
  std::vector<PeerMemory> mapped_;  // of peers; kept, because flat buffers live as long as the run
};

}  // namespace viaduct
