#include "comm/host_group.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <sstream>

#include "comm/direct_reduce.hpp"
#include "core/base/log.hpp"

namespace viaduct {

// At the beginning of memory that all ranks map, followed by a slot of each rank.
struct HostGroup::Control {
  std::atomic<uint32_t> arrived, meetings;
};

// Written by its rank, read by all between two meetings.
struct alignas(64) HostGroup::Slot {
  PeerBuffers::Place place;
  bool has_place;
  bool maps_all;
};

HostGroup::Control& HostGroup::control() const { return *reinterpret_cast<Control*>(control_.data()); }
HostGroup::Slot& HostGroup::slot(int rank) const {
  return reinterpret_cast<Slot*>(control_.data() + align_up(sizeof(Control), alignof(Slot)))[rank];
}

std::unique_ptr<HostGroup> HostGroup::make(Communicator& comm) {
  static_assert(std::atomic<uint32_t>::is_always_lock_free, "shared between processes");
  std::optional<PeerMemory> control;
  PeerAddress address;
  if (comm.rank() == 0 && (control = PeerMemory::make(int64_t(sizeof(Slot)) * (comm.size() + 1))))
    address = control->address();
  std::istringstream said(
      comm.broadcast_text(fmt::format("{} {} {} {}", address.process, address.file, address.token, address.bytes), 0));
  said >> address.process >> address.file >> address.token >> address.bytes;
  if (comm.rank() != 0 && address.file >= 0) control = PeerMemory::open(address);
  for (const std::string& answer : comm.all_gather_text(control ? "mapped" : "refused"))
    if (answer != "mapped") {
      log::info(
          "the ranks of this host cannot map each other's memory (/proc/PID/fd is not open to them): gradients go "
          "through "
          "MPI messages, several times slower");
      return nullptr;
    }
  return std::unique_ptr<HostGroup>(new HostGroup(std::move(*control), comm.rank(), comm.size()));
}

// A barrier on a futex: the last rank to arrive wakes the others, which sleep meanwhile.
void HostGroup::meet() {
  Control& c = control();
  const uint32_t meeting = c.meetings.load(std::memory_order_acquire);
  if (c.arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == uint32_t(size_)) {
    c.arrived.store(0, std::memory_order_relaxed);
    c.meetings.fetch_add(1, std::memory_order_acq_rel);
    ::syscall(SYS_futex, &c.meetings, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
    return;
  }
  while (c.meetings.load(std::memory_order_acquire) == meeting)
    ::syscall(SYS_futex, &c.meetings, FUTEX_WAIT, meeting, nullptr, nullptr, 0);
}

std::byte* HostGroup::map(const PeerBuffers::Place& place) {
  for (const PeerMemory& memory : mapped_)
    if (memory.address() == place.memory) return memory.data() + place.offset;
  std::erase_if(mapped_, [&](const PeerMemory& memory) {  // its owner has released it and reused the number
    return memory.address().process == place.memory.process && memory.address().file == place.memory.file;
  });
  auto opened = PeerMemory::open(place.memory);
  if (!opened) return nullptr;
  mapped_.push_back(std::move(*opened));
  return mapped_.back().data() + place.offset;
}

std::vector<void*> HostGroup::meet_with(const Tensor& t, PeerBuffers& buffers) {
  Slot& mine = slot(rank_);
  auto place = buffers.find(t.data, t.bytes());
  mine.has_place = place.has_value();
  if (place) mine.place = *place;
  meet();
  std::vector<void*> tensors;
  for (int r = 0; r < size_; ++r)
    if (slot(r).has_place) tensors.push_back(r == rank_ ? t.data : map(slot(r).place));
  mine.maps_all = int(std::count_if(tensors.begin(), tensors.end(), [](void* p) { return p; })) == size_;
  meet();
  for (int r = 0; r < size_; ++r)
    if (!slot(r).maps_all) return {};
  return tensors;
}

bool HostGroup::all_reduce(const Tensor& t, Reduce op, PeerBuffers& buffers) {
  auto tensors = meet_with(t, buffers);
  if (tensors.empty()) return false;
  direct_reduce({tensors.begin(), tensors.end()}, tensors, t.dtype, op, reduce_part(t.numel(), rank_, size_));
  meet();
  return true;
}

bool HostGroup::reduce_parts(const Tensor& t, const std::vector<Range>& parts, Reduce op, PeerBuffers& buffers) {
  auto tensors = meet_with(t, buffers);
  if (tensors.empty()) return false;
  direct_reduce({tensors.begin(), tensors.end()}, {t.data}, t.dtype, op, parts[size_t(rank_)]);
  meet();
  return true;
}

bool HostGroup::gather_parts(const Tensor& t, const std::vector<Range>& parts, PeerBuffers& buffers) {
  auto tensors = meet_with(t, buffers);
  if (tensors.empty()) return false;
  direct_gather(t, {tensors.begin(), tensors.end()}, parts, rank_);
  meet();
  return true;
}

}  // namespace viaduct
