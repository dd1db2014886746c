#include "comm/ddp.hpp"

namespace viaduct {

Ddp::Ddp(ParameterStore& store, Communicator& comm, double bucket_mb)
    : ReportedSync(store, comm), buckets_(store.blocks(), size_of(store.grads().dtype), bucket_mb * 1e6) {
  if (comm.size() > 1) thread_.emplace(comm.duplicate());
}

void Ddp::pass_begun() {
  if (thread_) thread_->check();
  buckets_.begin_pass();
}

void Ddp::block_ready(size_t block) {
  if (last_pass()) buckets_.ready(block, [this](size_t bucket) { launch(buckets_.ranges()[bucket]); });
}

void Ddp::launch(Range bucket) {
  if (bucket.begin == 0) seal_tail();
  if (!thread_) return;
  thread_->submit([gradients = store_.grads(bucket)](Communicator& comm, Stream& stream) {
    comm.all_reduce(gradients, Reduce::sum, stream);
  });
}

void Ddp::complete() {
  if (thread_) thread_->wait();
}

}  // namespace viaduct
