// A communicator whose collectives are counted where the other ranks of the host can see it, so that who has not come to
// one can be named.
#pragma once
#include "comm/communicator.hpp"
#include "comm/host_ranks.hpp"

namespace viaduct {

class CountedComm final : public Communicator {
 public:
  CountedComm(Communicator& comm, RankRecord& record) : comm_(comm), record_(record) {}
  CountedComm(std::unique_ptr<Communicator> comm, RankRecord& record)
      : owned_(std::move(comm)), comm_(*owned_), record_(record) {}

  int rank() const override { return comm_.rank(); }
  int size() const override { return comm_.size(); }
  const char* name(Device device) const override { return comm_.name(device); }
  bool carries(Device device) const override { return comm_.carries(device); }
  std::string trouble() const override { return comm_.trouble(); }
  void all_reduce(Tensor t, Reduce op, Stream& stream) override {
    Arrival here(record_);
    comm_.all_reduce(t, op, stream);
  }
  void reduce_scatter(Tensor shard, Tensor full, Reduce op, Stream& stream) override {
    Arrival here(record_);
    comm_.reduce_scatter(shard, full, op, stream);
  }
  void all_gather(Tensor full, Tensor shard, Stream& stream) override {
    Arrival here(record_);
    comm_.all_gather(full, shard, stream);
  }
  void reduce_parts(Tensor t, const std::vector<Range>& parts, Reduce op, Stream& stream) override {
    Arrival here(record_);
    comm_.reduce_parts(t, parts, op, stream);
  }
  void gather_parts(Tensor t, const std::vector<Range>& parts, Stream& stream) override {
    Arrival here(record_);
    comm_.gather_parts(t, parts, stream);
  }
  void wait(Stream& stream) override {
    Arrival here(record_);
    comm_.wait(stream);
  }
  void broadcast(Tensor t, int root, Stream& stream) override {
    Arrival here(record_);
    comm_.broadcast(t, root, stream);
  }
  void barrier() override {
    Arrival here(record_);
    comm_.barrier();
  }
  std::vector<std::string> all_gather_text(const std::string& mine) override {
    Arrival here(record_);
    return comm_.all_gather_text(mine);
  }
  std::unique_ptr<Communicator> duplicate() override {
    Arrival here(record_);
    return std::make_unique<CountedComm>(comm_.duplicate(), record_);
  }
  Buffer allocate(Device device, int64_t bytes) override { return comm_.allocate(device, bytes); }

 private:
  struct Arrival {
    explicit Arrival(RankRecord& r) : record(r) { ++record.waiting, ++record.arrivals; }
    ~Arrival() { --record.waiting; }
    RankRecord& record;
  };
  std::unique_ptr<Communicator> owned_;
  Communicator& comm_;
  RankRecord& record_;
};

}  // namespace viaduct
