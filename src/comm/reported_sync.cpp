#include "comm/reported_sync.hpp"

#include <algorithm>
#include <chrono>
#include <functional>

#include "comm/step_tail.hpp"
#include "core/ops/update.hpp"

namespace viaduct {

ReportedSync::ReportedSync(ParameterStore& store, Communicator& comm, const WireOptions& wire)
    : store_(store), comm_(comm), addends_(wire.addends) {
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
    if (wire_ && !plans()) wire_->begin_step();
  }
  first_pass_ = !in_step_, in_step_ = true, last_pass_ = last_pass, sealed_ = false;
  reports_.assign(store_.blocks().size(), 0), parts_ = reports_;
  pass_begun();
}

void ReportedSync::add_loss(Tensor losses, int64_t terms) {
  expect(in_step_, "add_loss() belongs between begin() and finish()");
  expect(!sealed_, "add_loss() comes before the last block is ready: its bucket carries the loss");
  if (!plans()) tail_.loss_sum += sum_losses(losses);
  tail_.terms += terms;
}

size_t ReportedSync::index_of(Range block) const {
  expect(in_step_, "ready() belongs between begin() and finish()");
  const auto& blocks = store_.blocks();
  const size_t i = size_t(std::find(blocks.begin(), blocks.end(), block) - blocks.begin());
  expect(i < blocks.size(), fmt::format("[{}, {}) was reported ready and is no block", block.begin, block.end));
  return i;
}

void ReportedSync::part(Range block) {
  const size_t i = index_of(block);
  ++parts_[i];
  add(block);
  block_part(i);
}

void ReportedSync::ready(Range block) {
  const size_t i = index_of(block);
  if (++reports_[i] > 1) return;  // finish() complains of it
  add(block);
  block_ready(i);
}

void ReportedSync::add(Range block) {
  if (!wire_ || !wire_->adds() || plans()) return;
  check_addends(store_.grads(block), block.begin);
  wire_->add(block);
}

void ReportedSync::check_addends(const Tensor& gradients, int64_t first) {
  const double limit = largest_addend(addends_);
  const WireCheck found = check_addend(gradients, limit);
  if (!found.finite) tail_.nonfinite = 1;
  if (found.too_large >= 0)
    fail(Exit::diverged,
         fmt::format("a gradient of {} is {:.3g} in one pass; parallel.reduction = invariant adds {} of them a step, "
                     "each below {:.3g}; try a smaller train.lr, or parallel.reduction = fast",
                     store_.describe(first + found.too_large), data<float>(gradients)[found.too_large], addends_,
                     limit));
}

void ReportedSync::seal_tail() {
  sealed_ = true;
  if (!plans()) write_tail(tail_, tail_slot());
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

std::vector<int> ReportedSync::nonfinite_ranks() {
  const bool mine = tail_.nonfinite > 0 || !tail_.loss_sum.finite();
  const auto all = comm_.all_gather_text(mine ? "mine" : "");
  std::vector<int> ranks;
  for (int r = 0; r < comm_.size(); ++r)
    if (!all[size_t(r)].empty()) ranks.push_back(r);
  return ranks;
}

void ReportedSync::check_reports() const {
  std::string never, twice;
  for (size_t i = 0; i < reports_.size(); ++i) {
    std::string& list = reports_[i] == 0 ? never : twice;
    if (reports_[i] != 1) list += (list.empty() ? "" : ", ") + store_.block_name(store_.blocks()[i]);
  }
  expect(never.empty(), "gradients of these blocks were never reported ready: " + never);
  expect(twice.empty(), "gradients of these blocks were reported ready more than once: " + twice);
  expect(std::adjacent_find(parts_.begin(), parts_.end(), std::not_equal_to<>()) == parts_.end(),
         "every loss of a pass reports every block");
}

}  // namespace viaduct
