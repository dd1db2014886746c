// What the strategies have in common that reduce gradients in buckets while backward goes on.
#pragma once
#include <optional>

#include "comm/buckets.hpp"
#include "comm/comm_thread.hpp"
#include "comm/reported_sync.hpp"

namespace viaduct {

class BucketedSync : public ReportedSync {
 public:
  std::vector<std::string> collectives() const override;

 protected:
  BucketedSync(ParameterStore&, Communicator&, const GradSyncOptions&);
  // Every block of it is final; called in the order of the buckets, the same on every rank.
  virtual void launch(size_t bucket) = 0;

  virtual const char* collective() const { return "all_reduce"; }  // of a bucket
  virtual DType travels_as() const { return wire_->type(); }

  void pass_begun() override;
  void block_ready(size_t block) override;
  void complete() override;
  // To the communication thread; on a device, and in a world of one, it is work of a stream beside the pass's.
  CommThread::Ticket submit(CommThread::Job);
  int64_t largest_bucket() const;

  Buckets buckets_;
  std::optional<CommThread> thread_;  // absent in a world of one and on a device

 private:
  Stream stream_;
};

}  // namespace viaduct
