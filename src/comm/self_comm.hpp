// A world of one rank.
#pragma once
#include "comm/communicator.hpp"

namespace viaduct {

class SelfComm final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  const char* name(Device) const override { return "self"; }
  bool carries(Device) const override { return true; }
  void all_reduce(Tensor, Reduce, Stream&) override {}
  void reduce_scatter(Tensor shard, Tensor full, Reduce, Stream& stream) override { transfer(shard, full, stream); }
  void all_gather(Tensor full, Tensor shard, Stream& stream) override { transfer(full, shard, stream); }
  void reduce_parts(Tensor, const std::vector<Range>&, Reduce, Stream&) override {}
  void gather_parts(Tensor, const std::vector<Range>&, Stream&) override {}
  void broadcast(Tensor, int root, Stream&) override { expect(root == 0, "the root of a broadcast is a rank"); }
  void barrier() override {}
  std::vector<std::string> all_gather_text(const std::string& mine) override { return {mine}; }
  std::unique_ptr<Communicator> duplicate() override { return std::make_unique<SelfComm>(); }
};

}  // namespace viaduct
