#include "comm/reported_sync.hpp"

#include <algorithm>
#include <chrono>

#include "core/ops/update.hpp"

namespace viaduct {

ReportedSync::ReportedSync(ParameterStore& store, Communicator& comm) : store_(store), comm_(comm) {
  expect(store.trainable() && !store.blocks().empty(), "gradients are synchronised for a store that has some");
  expect(comm.size() <= ops::kTailMaxRanks,
         fmt::format("the step tail adds up exactly for at most {} ranks", ops::kTailMaxRanks));
  sums_buffer_ = Buffer(store.values().device, ops::step_sum::count * size_of(DType::f64));
  sums_ = sums_buffer_.view(0, {ops::step_sum::count}, DType::f64);
}

void ReportedSync::begin(Ctx& ctx, Tensor counts, bool last_pass) {
  if (in_step_) {
    expect(!last_pass_, "begin() after the last pass: finish() comes first");
    check_reports();
  }
  ctx_ = &ctx;
  if (!in_step_) fill_zero(sums_, ctx.stream);
  if (counts) ops::begin_step_sums(ctx, sums_, counts, false);
  in_step_ = true, last_pass_ = last_pass, sealed_ = false;
  reports_.assign(store_.blocks().size(), 0);
  pass_begun();
}

void ReportedSync::add_loss(Tensor losses, int64_t terms) {
  expect(in_step_, "add_loss() belongs between begin() and finish()");
  expect(!sealed_, "add_loss() comes before the last block is ready: its bucket carries the loss");
  ops::add_losses(*ctx_, sums_, losses, terms);
}

void ReportedSync::ready(Range block) {
  expect(in_step_, "ready() belongs between begin() and finish()");
  const auto& blocks = store_.blocks();
  const size_t i = size_t(std::find(blocks.begin(), blocks.end(), block) - blocks.begin());
  expect(i < blocks.size(), fmt::format("[{}, {}) was reported ready and is no block", block.begin, block.end));
  if (++reports_[i] == 1) block_ready(i);  // finish() complains of a second time
}

void ReportedSync::seal_tail() {
  ops::write_step_tail(*ctx_, tail_slot(), sums_);
  sealed_ = true;
}

Tensor ReportedSync::finish() {
  expect(in_step_ && last_pass_, "finish() comes after the last pass");
  check_reports();
  const auto start = std::chrono::steady_clock::now();
  complete();
  exposed_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  in_step_ = last_pass_ = false;
  ops::read_step_tail(*ctx_, sums_, tail_slot());
  return sums_;
}

void ReportedSync::squared_norm(Ctx& ctx, Tensor out) { ops::squared_norm(ctx, out, store_.grads(store_.range())); }

void ReportedSync::check_reports() const {
  std::string never, twice;
  for (size_t i = 0; i < reports_.size(); ++i) {
    std::string& list = reports_[i] == 0 ? never : twice;
    if (reports_[i] != 1) list += (list.empty() ? "" : ", ") + store_.block_name(store_.blocks()[i]);
  }
  expect(never.empty(), "gradients of these blocks were never reported ready: " + never);
  expect(twice.empty(), "gradients of these blocks were reported ready more than once: " + twice);
}

}  // namespace viaduct
