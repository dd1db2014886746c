#include "train/trainer.hpp"

#include <cmath>

#include "core/base/log.hpp"
#include "train/rank_error.hpp"

namespace viaduct {
namespace {

// A forward that waits for values of other ranks communicates, and a backward that waits for storage which is still being
// reduced: both are timed, and watched, as that.
class TimedSink final : public GradSink {
 public:
  TimedSink(GradSync& sync, PhaseClock& clock) : sync_(sync), clock_(clock) {}
  void add_loss(Tensor losses, int64_t terms) override { sync_.add_loss(losses, terms); }
  void need(Range block) override {
    Waits waits(clock_);
    sync_.need(block);
  }
  Tensor open(Range block) override {
    Waits waits(clock_);
    return sync_.open(block);
  }
  void part(Range block) override { sync_.part(block); }
  void ready(Range block) override { sync_.ready(block); }

 private:
  class Waits {
   public:
    explicit Waits(PhaseClock& clock) : clock_(clock), before_(clock.phase()) { clock_.enter(Phase::comm); }
    ~Waits() { clock_.enter(before_); }

   private:
    PhaseClock& clock_;
    Phase before_;
  };
  GradSync& sync_;
  PhaseClock& clock_;
};

// What makes two passes the same work: Replay's key.
std::string shapes_of(const Batch& batch, bool first_pass, bool last_pass) {
  return fmt::format("{} x {}, {}{}", batch.size(), batch.text ? batch.text.ids.shape[1] : 0, int(first_pass),
                     int(last_pass));
}

}  // namespace

Trainer::Trainer(Task& task, GradSync& sync, AdamW& optimizer, Loader& loader, BatchUpload& upload, Workspace& work,
                 PhaseClock& clock, TrainerOptions options, Hooks hooks, std::vector<Observer*> observers)
    : task_(task),
      sync_(sync),
      optimizer_(optimizer),
      loader_(loader),
      upload_(upload),
      work_(work),
      clock_(clock),
      options_(options),
      hooks_(std::move(hooks)),
      observers_(std::move(observers)),
      numbers_(work.ctx.device()),
      replay_(options.graph && task.replayable()),
      done_(options.start_step) {
  work_.ctx.clock = &clock_;
}

RunEnd Trainer::run() {
  auto due = [&](int64_t every) { return every && done_ % every == 0; };
  auto ask = [](const std::function<bool()>& hook) { return hook && hook(); };
  bool stopping = false;
  if (options_.evaluation_owed) save(evaluate());
  bool over = done_ == options_.total_steps || ask(hooks_.enough);
  begin_interval();
  while (!over && !stopping) {
    if (hooks_.before_step) hooks_.before_step(done_);
    StepTail tail = step();
    ++done_;
    report(tail);
    if (due(options_.parity_every)) settle(), hooks_.parity(done_);
    over = done_ == options_.total_steps || (tail.stop > 0 && ask(hooks_.over));
    stopping = tail.stop > 0 && !over;
    std::map<std::string, double> metrics;
    if (over || (!stopping && due(options_.eval_every))) metrics = evaluate(), over = over || ask(hooks_.enough);
    if (over || stopping || due(options_.checkpoint_every)) save(metrics);
    begin_interval();
  }
  settle();
  clock_.enter(Phase::finish);
  return stopping ? RunEnd::preempted : RunEnd::completed;
}

std::map<std::string, double> Trainer::evaluate() {
  if (!hooks_.evaluate) return {};
  settle();
  clock_.enter(Phase::eval);
  auto metrics = hooks_.evaluate(done_);
  for (Observer* o : observers_) o->evaluated(done_, epoch(), metrics);
  return metrics;
}

void Trainer::save(const std::map<std::string, double>& metrics) {
  if (!hooks_.save) return;
  settle();
  clock_.enter(Phase::checkpoint);
  std::string folder = hooks_.save(done_, metrics);
  for (Observer* o : observers_) o->saved(done_, folder);
}

void Trainer::settle() {
  clock_.enter(Phase::comm);
  sync_.settle();
}

void Trainer::begin_interval() {
  clock_.reset();
  last_report_ = std::chrono::steady_clock::now();
}

StepTail Trainer::step() {
  double *counts = numbers_.counts(), *scalars = numbers_.scalars();
  counts[0] = counts[1] = 0;
  last_.learning_rate = options_.learning_rate * options_.schedule.factor(done_);
  scalars[ops::step_scalar::max_norm] = options_.clip_norm;
  optimizer_.prepare(scalars, last_.learning_rate);
  if (hooks_.stop_requested && hooks_.stop_requested()) counts[1] = 1;
  for (int64_t i = 0; i < options_.accumulate; ++i) {
    clock_.enter(Phase::data);
    Batch batch = upload_(loader_.next(), work_.stream);
    counts[0] += double(batch.replaced);
    clock_.enter(Phase::forward);
    const bool first = i == 0, last = i + 1 == options_.accumulate;
    replay_.run(shapes_of(batch, first, last), work_.stream, [&] { pass(batch, first, last); });
  }
  return conclude();
}

void Trainer::pass(const Batch& batch, bool first_pass, bool last_pass) {
  Ctx& ctx = work_.ctx;
  TimedSink sink(sync_, clock_);
  ctx.training = true;
  ctx.sample_keys = batch.keys;
  if (first_pass) task_.parameters().zero_gradients(ctx.stream);
  if (last_pass) numbers_.to_device(ctx.stream);
  sync_.begin(ctx, last_pass ? numbers_.device_counts() : Tensor{}, first_pass, last_pass);
  if (batch.size() > 0)
    task_.train(ctx, batch, sink);
  else
    task_.train_nothing(ctx, sink);
  if (!last_pass) return;
  clock_.enter(Phase::comm);
  Tensor sums = sync_.finish();
  clock_.enter(Phase::optimizer);
  ctx.training = false;
  update(sums);
  numbers_.to_host(ctx.stream, sums);
}

void Trainer::update(Tensor step_sums) {
  auto scope = work_.arena.scope("update");
  Tensor squared_norm = work_.arena.temp({1}, DType::f64), scalars = numbers_.device_scalars();
  sync_.squared_norm(work_.ctx, squared_norm);
  ops::clip(work_.ctx, scalars, squared_norm, step_sums);
  optimizer_.step(work_.ctx, scalars);
  sync_.updated();
}

StepTail Trainer::conclude() {
  sync_.wait(work_.stream);
  work_.packed.values_changed();
  const StepTail tail = StepTail::of(numbers_.sums());
  last_.grad_norm = numbers_.scalars()[ops::step_scalar::grad_norm];
  last_.loss = tail.nonfinite ? std::nan("") : tail.loss_sum / double(tail.terms);
  if (!std::isfinite(last_.grad_norm) || !std::isfinite(last_.loss)) leave_out(tail);
  return tail;
}

// The device has seen it too, and has left the update out (ops::clip).
void Trainer::leave_out(const StepTail& tail) {
  optimizer_.take_back();
  settle();
  std::vector<int> ranks;
  if (tail.nonfinite) ranks = sync_.nonfinite_ranks();
  const Nonfinite what = hooks_.explain ? hooks_.explain(done_, ranks) : Nonfinite{};
  clock_.enter(Phase::optimizer);
  std::string found = ranks.empty() ? fmt::format("loss {}, gradient norm {}", last_.loss, last_.grad_norm)
                                    : fmt::format("the loss of {} {} is not finite",
                                                  ranks.size() == 1 ? "rank" : "ranks", fmt::join(ranks, ", "));
  found += what.text();
  if (!options_.skip_nonfinite || what.lasting)
    throw RankError(ranks.empty() ? -1 : ranks[0], Exit::diverged,
                    fmt::format("training diverged at step {}: {}; the checkpoints before it are intact; try a smaller "
                                "train.lr, a train.warmup, or look at these samples",
                                done_ + 1, found));
  log::info("step {} is left out: {}", done_ + 1, found);
  for (Observer* o : observers_) o->left_out(done_ + 1, epoch_at(done_ + 1), what);
}

void Trainer::report(const StepTail& tail) {
  auto now = std::chrono::steady_clock::now();
  clock_.enter(Phase::finish);
  last_.step = done_, last_.total_steps = options_.total_steps;
  last_.epoch = epoch();
  last_.samples = loader_.plan().samples_before(done_);
  last_.seconds = std::chrono::duration<double>(now - last_report_).count();
  last_.step_samples = last_.samples - loader_.plan().samples_before(done_ - 1);
  last_.samples_per_second = double(last_.step_samples) / last_.seconds;
  last_.quarantined += tail.quarantined;
  last_.left_out = done_ - optimizer_.steps();
  last_.data_seconds = clock_.seconds(Phase::data);
  const double forward = clock_.seconds(Phase::forward), backward = clock_.seconds(Phase::backward);
  const double comm = clock_.seconds(Phase::comm), optimizer = clock_.seconds(Phase::optimizer);
  if (work_.ctx.device().is_cuda())
    last_.device_seconds = forward + backward + comm + optimizer;
  else
    last_.forward_seconds = forward, last_.backward_seconds = backward, last_.comm_seconds = comm,
    last_.optimizer_seconds = optimizer;
  for (Observer* o : observers_) o->stepped(last_);
}

}  // namespace viaduct
