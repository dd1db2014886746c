#include "comm/bucketed_sync.hpp"

#include <algorithm>

namespace viaduct {

BucketedSync::BucketedSync(ParameterStore& store, Communicator& comm, const GradSyncOptions& options)
    : ReportedSync(store, comm, options.wire),
      buckets_(store.blocks(), size_of(store.grads().dtype), options.bucket_mb * 1e6),
      stream_(store.grads().device) {
  if (comm.size() > 1 && !plans() && !on_device()) thread_.emplace(comm.duplicate());
}

std::vector<std::string> BucketedSync::collectives() const {
  std::vector<std::string> all;
  for (Range bucket : buckets_.ranges())
    all.push_back(fmt::format("{} {} [{}, {})", collective(), name_of(travels_as()), bucket.begin, bucket.end));
  return all;
}

void BucketedSync::pass_begun() {
  if (thread_) thread_->check();
  buckets_.begin_pass();
}

void BucketedSync::block_ready(size_t block) {
  if (last_pass()) buckets_.ready(block, [this](size_t bucket) { launch(bucket); });
}

void BucketedSync::complete() {
  if (thread_) return thread_->wait();
  if (!plans()) stream().wait_stream(stream_);
}

CommThread::Ticket BucketedSync::submit(CommThread::Job job) {
  if (thread_) return thread_->submit(std::move(job));
  if (plans()) return 0;
  stream_.wait_stream(stream());
  job(comm_, stream_);
  return 0;
}

int64_t BucketedSync::largest_bucket() const {
  int64_t most = 0;
  for (Range bucket : buckets_.ranges()) most = std::max(most, bucket.size());
  return most;
}

}  // namespace viaduct
