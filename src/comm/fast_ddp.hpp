// Strategy fast_ddp: the whole gradient as one buffer, summed in one collective after backward. Nothing runs beside
// backward: no thread, no second stream, no buckets, and where ranks reduce in each other's memory only two meetings a step.
#pragma once
#include "comm/reported_sync.hpp"

namespace viaduct {

class FastDdp final : public ReportedSync {
 public:
  FastDdp(ParameterStore& store, Communicator& comm, const GradSyncOptions& options)
      : ReportedSync(store, comm, options.wire) {
    wire_ = std::make_shared<GradientWire>(store, comm, options.wire, store.size());
  }

  std::vector<std::string> collectives() const override {
    return {fmt::format("all_reduce {} [{}]", name_of(wire_->type()), store_.size())};
  }

 private:
  void pass_begun() override {}
  void block_ready(size_t) override {}
  void complete() override {
    seal_tail();
    wire_->all_reduce(comm_, stream(), {0, store_.size()});
  }
};

}  // namespace viaduct
