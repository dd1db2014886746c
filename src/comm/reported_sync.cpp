#include "comm/reported_sync.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>

#include "core/ops/update.hpp"

namespace viaduct {
ReportedSync::ReportedSync(ParameterStore& store, Communicator& comm, const WireOptions& wire)
    : store_(store), comm_(comm), addends_(wire.addends), fixed_point_(wire.type == DType::i64) {
  expect(store.trainable() && !store.blocks().empty(), "gradients are synchronised for a store that has some");
  expect(comm.size() <= ops::kTailMaxRanks,
         fmt::format("the step tail adds up exactly for at most {} ranks", ops::kTailMaxRanks));
  sums_buffer_ = Buffer(store.values().device, 2 * ops::step_sum::count * size_of(DType::f64));
  sums_ = sums_buffer_.view(0, {ops::step_sum::count}, DType::f64);
  own_sums_ = sums_buffer_.view(sums_.bytes(), sums_.shape, DType::f64);
}

void ReportedSync::begin(Ctx& ctx, Tensor counts, bool first_pass, bool last_pass) {
  if (in_step_) {
    expect(!last_pass_, "begin() after the last pass: finish() comes first");
    check_reports();
  }
  ctx_ = &ctx;
  first_pass_ = first_pass;
  if (first_pass) {
    fill_zero(sums_, ctx.stream);
    losses_ = {};
    if (wire_ && !plans()) wire_->begin_step();
  }
  if (counts) ops::add_counts(ctx, sums_, counts);
  in_step_ = true, last_pass_ = last_pass, sealed_ = false;
  reports_.assign(store_.blocks().size(), 0), parts_ = reports_;
  pass_begun();
}

void ReportedSync::add_loss(Tensor losses, int64_t terms) {
  expect(in_step_, "add_loss() belongs between begin() and finish()");
  expect(!sealed_, "add_loss() comes before the last block is ready: its bucket carries the loss");
  if (!exact()) return ops::add_losses(*ctx_, sums_, losses, terms);
  double addend[ops::step_sum::count] = {};
  ops::add_losses(*ctx_, {addend, sums_.shape, DType::f64, sums_.device}, losses, terms);
  losses_.add(addend[ops::step_sum::loss]);
  data<double>(sums_)[ops::step_sum::terms] += double(terms);
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
  if (!found.finite) data<double>(sums_)[ops::step_sum::nonfinite] = 1;
  if (found.too_large >= 0)
    fail(Exit::diverged,
         fmt::format("a gradient of {} is {:.3g} in one pass; parallel.reduction = invariant adds {} of them a step, "
                     "each below {:.3g}; try a smaller train.lr, or parallel.reduction = fast",
                     store_.describe(first + found.too_large), data<float>(gradients)[found.too_large], addends_,
                     limit));
}

void ReportedSync::seal_tail() {
  sealed_ = true;
  if (exact() && !losses_.finite()) data<double>(sums_)[ops::step_sum::loss] = std::nan("");
  ops::write_step_tail(*ctx_, tail_slot(), sums_);
  if (exact() && losses_.finite()) losses_.write(tail_slot());
  ops::read_step_tail(*ctx_, own_sums_, tail_slot());
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

void ReportedSync::wait(Stream& stream) { comm_.size() > 1 ? comm_.wait(stream) : stream.synchronize(); }

std::vector<int> ReportedSync::nonfinite_ranks() {
  if (comm_.size() == 1) return {0};
  double mine[ops::step_sum::count];
  transfer({mine, own_sums_.shape, DType::f64, Device::cpu()}, own_sums_, stream());
  stream().synchronize();
  const auto all = comm_.all_gather_text(mine[ops::step_sum::nonfinite] > 0 ? "mine" : "");
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
