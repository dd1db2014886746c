#include "comm/reported_sync.hpp"

#include <algorithm>
#include <chrono>

#include "comm/step_tail.hpp"
#include "core/ops/update.hpp"

namespace viaduct {

ReportedSync::ReportedSync(ParameterStore& store, Communicator& comm) : store_(store), comm_(comm) {
  expect(store.trainable() && !store.blocks().empty(), "gradients are synchronised for a store that has some");
  expect(comm.size() <= kTailMaxRanks,
         fmt::format("the step tail adds up exactly for at most {} ranks", kTailMaxRanks));
}

void ReportedSync::begin(const StepTail& mine, bool last_pass) {
  if (in_step_) {
    expect(!last_pass_, "begin() after the last pass: finish() comes first");
    check_reports();
    tail_.quarantined += mine.quarantined;
    tail_.stop = std::max(tail_.stop, mine.stop);
  } else {
    tail_ = mine;
  }
  in_step_ = true, last_pass_ = last_pass, sealed_ = false;
  reports_.assign(store_.blocks().size(), 0);
  pass_begun();
}

void ReportedSync::add_loss(Tensor losses, int64_t terms) {
  expect(in_step_, "add_loss() belongs between begin() and finish()");
  expect(!sealed_, "add_loss() comes before the last block is ready: its bucket carries the loss");
  tail_.loss_sum += sum_losses(losses);
  tail_.terms += terms;
}

void ReportedSync::ready(Range block) {
  expect(in_step_, "ready() belongs between begin() and finish()");
  const auto& blocks = store_.blocks();
  const size_t i = size_t(std::find(blocks.begin(), blocks.end(), block) - blocks.begin());
  expect(i < blocks.size(), fmt::format("[{}, {}) was reported ready and is no block", block.begin, block.end));
  if (++reports_[i] == 1) block_ready(i);  // finish() complains of a second time
}

void ReportedSync::seal_tail() {
  write_tail(tail_, tail_slot());
  sealed_ = true;
}

StepTail ReportedSync::finish() {
  expect(in_step_ && last_pass_, "finish() comes after the last pass");
  check_reports();
  const auto start = std::chrono::steady_clock::now();
  complete();
  exposed_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  in_step_ = last_pass_ = false;
  return read_tail(tail_slot());
}

double ReportedSync::squared_norm(Ctx& ctx) {
  auto scope = ctx.arena.scope("gradient norm");
  Tensor sum = ctx.arena.temp({1}, DType::f64);
  ops::squared_norm(ctx, sum, store_.grads(store_.range()));
  ctx.stream.synchronize();
  return *data<double>(sum);
}

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
