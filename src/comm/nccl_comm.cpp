#include "comm/nccl_comm.hpp"

#include <atomic>
#include <exception>
#include <functional>

#include "core/device/nccl.hpp"

namespace viaduct {
namespace {

nccl::Reduce as_nccl(Reduce op) {
  return op == Reduce::sum ? nccl::Reduce::sum : op == Reduce::max ? nccl::Reduce::max : nccl::Reduce::min;
}

class NcclComm final : public Communicator {
 public:
  explicit NcclComm(std::unique_ptr<Communicator> host) : host_(std::move(host)) {}
  // With an exception on its way the peers may never come to close it.
  ~NcclComm() override {
    void* comm = comm_;
    if (!comm) return;
    if (std::uncaught_exceptions())
      nccl::abandon(comm);
    else
      nccl::close(comm);
  }

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  const char* name(Device device) const override { return device.is_cuda() ? "nccl" : host_->name(device); }
  bool carries(Device) const override { return true; }
  std::string trouble() const override {
    void* comm = comm_;
    return comm ? nccl::trouble(comm) : "";
  }

  void all_reduce(Tensor t, Reduce op, Stream& stream) override {
    if (!t.device.is_cuda()) return host_->all_reduce(t, op, stream);
    nccl::all_reduce(connected(), summed(t, op), as_nccl(op), stream);
  }
  void reduce_scatter(Tensor shard, Tensor full, Reduce op, Stream& stream) override {
    if (!full.device.is_cuda()) return host_->reduce_scatter(shard, full, op, stream);
    expect(full.numel() == shard.numel() * size(), "reduce_scatter: full = ranks x shard");
    nccl::reduce_scatter(connected(), shard, summed(full, op), as_nccl(op), stream);
  }
  void all_gather(Tensor full, Tensor shard, Stream& stream) override {
    if (!full.device.is_cuda()) return host_->all_gather(full, shard, stream);
    expect(full.numel() == shard.numel() * size(), "all_gather: full = ranks x shard");
    nccl::all_gather(connected(), full, shard, stream);
  }
  void reduce_parts(Tensor t, const std::vector<Range>& parts, Reduce op, Stream& stream) override {
    if (!t.device.is_cuda()) return host_->reduce_parts(t, parts, op, stream);
    for_parts(summed(t, op), parts,
              [&](Tensor part, int root) { nccl::reduce(comm_, part, as_nccl(op), root, stream); });
  }
  void gather_parts(Tensor t, const std::vector<Range>& parts, Stream& stream) override {
    if (!t.device.is_cuda()) return host_->gather_parts(t, parts, stream);
    for_parts(t, parts, [&](Tensor part, int root) { nccl::broadcast(comm_, part, root, stream); });
  }
  void broadcast(Tensor t, int root, Stream& stream) override {
    if (!t.device.is_cuda()) return host_->broadcast(t, root, stream);
    nccl::broadcast(connected(), t, root, stream);
  }
  void barrier() override { host_->barrier(); }
  std::vector<std::string> all_gather_text(const std::string& mine) override { return host_->all_gather_text(mine); }
  std::unique_ptr<Communicator> duplicate() override { return std::make_unique<NcclComm>(host_->duplicate()); }
  Buffer allocate(Device device, int64_t bytes) override {
    return device.is_cuda() ? Buffer(device, bytes) : host_->allocate(device, bytes);
  }

 private:
  void* connected() {
    if (!comm_) comm_ = nccl::connect(host_->broadcast_text(rank() == 0 ? nccl::new_id() : "", 0), size(), rank());
    return comm_;
  }
  static Tensor summed(Tensor t, Reduce op) {
    expect(op != Reduce::sum || t.dtype != DType::bf16, "sums of bf16 over NCCL would be rounded at every hop");
    return t;
  }
  void for_parts(Tensor t, const std::vector<Range>& parts, const std::function<void(Tensor, int)>& one) {
    expect(int(parts.size()) == size(), "there is a part for every rank");
    connected();
    nccl::together([&] {
      for (int r = 0; r < size(); ++r)
        if (const Range part = parts[size_t(r)]; !part.empty()) one(t.slice(part.begin, part.end), r);
    });
  }

  std::unique_ptr<Communicator> host_;
  std::atomic<void*> comm_ = nullptr;  // looked at by a thread that watches
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_comm(std::unique_ptr<Communicator> host) {
  return std::make_unique<NcclComm>(std::move(host));
}

}  // namespace viaduct
