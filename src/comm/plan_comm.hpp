// One of so many ranks, for planning on Device::meta: nothing is exchanged.
#pragma once
#include "comm/communicator.hpp"

namespace viaduct {

class PlanComm final : public Communicator {
 public:
  PlanComm(int rank, int size) : rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const char* name(Device) const override { return "plan"; }
  bool carries(Device) const override { return true; }
  void all_reduce(Tensor, Reduce, Stream&) override {}
  void reduce_scatter(Tensor, Tensor, Reduce, Stream&) override {}
  void all_gather(Tensor, Tensor, Stream&) override {}
  void reduce_parts(Tensor, const std::vector<Range>&, Reduce, Stream&) override {}
  void gather_parts(Tensor, const std::vector<Range>&, Stream&) override {}
  void broadcast(Tensor, int, Stream&) override {}
  void barrier() override {}
  std::vector<std::string> all_gather_text(const std::string& mine) override {
    return std::vector<std::string>(size_t(size_), mine);
  }
  std::unique_ptr<Communicator> duplicate() override { return std::make_unique<PlanComm>(rank_, size_); }

 private:
  int rank_, size_;
};

}  // namespace viaduct
