#include "train/trainer.hpp"

#include <cmath>

#include "core/optim/clip.hpp"
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

}  // namespace

Trainer::Trainer(Task& task, GradSync& sync, AdamW& optimizer, Loader& loader, Workspace& work, PhaseClock& clock,
                 TrainerOptions options, Hooks hooks, std::vector<Observer*> observers)
    : task_(task),
      sync_(sync),
      optimizer_(optimizer),
      loader_(loader),
      work_(work),
      clock_(clock),
      options_(options),
      hooks_(std::move(hooks)),
      observers_(std::move(observers)),
      done_(options.start_step) {
  work_.ctx.clock = &clock_;
}

RunEnd Trainer::run() {
  auto due = [&](int64_t every) { return every && done_ % every == 0; };
  bool stopping = false;
  if (options_.evaluation_owed) save(evaluate());
  begin_interval();
  while (done_ < options_.total_steps && !stopping) {
    if (hooks_.before_step) hooks_.before_step(done_);
    StepTail tail = step();
    ++done_;
    report(tail);
    if (due(options_.parity_every)) settle(), hooks_.parity(done_);
    stopping = tail.stop > 0;
    bool last = done_ == options_.total_steps;
    std::map<std::string, double> metrics;
    if (last || (!stopping && due(options_.eval_every))) metrics = evaluate();
    if (last || stopping || due(options_.checkpoint_every)) save(metrics);
    begin_interval();
  }
  settle();
  clock_.enter(Phase::finish);
  return stopping && done_ < options_.total_steps ? RunEnd::preempted : RunEnd::completed;
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
  Ctx& ctx = work_.ctx;
  TimedSink sink(sync_, clock_);
  ctx.training = true;
  task_.parameters().zero_gradients();
  for (int64_t pass = 0; pass < options_.accumulate; ++pass) {
    clock_.enter(Phase::data);
    Batch batch = loader_.next();
    clock_.enter(Phase::forward);
    bool stop = pass == 0 && hooks_.stop_requested && hooks_.stop_requested();
    sync_.begin({.quarantined = batch.replaced, .stop = stop}, pass + 1 == options_.accumulate);
    ctx.sample_keys = batch.keys;
    if (batch.size() > 0)
      task_.train(ctx, batch, sink);
    else
      task_.train_nothing(ctx, sink);
  }
  clock_.enter(Phase::comm);
  StepTail tail = sync_.finish();
  clock_.enter(Phase::optimizer);
  ctx.training = false;
  update(tail);
  return tail;
}

void Trainer::update(const StepTail& tail) {
  Clipped clipped = clip(sync_.squared_norm(work_.ctx), double(tail.terms), options_.clip_norm);
  last_.learning_rate = options_.learning_rate * options_.schedule.factor(done_);
  last_.grad_norm = clipped.norm;
  last_.loss = tail.loss_sum / double(tail.terms);
  if (tail.nonfinite || !std::isfinite(clipped.norm) || !std::isfinite(last_.loss)) fail_diverged(tail);
  optimizer_.step(work_.ctx, last_.learning_rate, clipped.scale);
  sync_.updated();
  work_.packed.values_changed();
}

void Trainer::fail_diverged(const StepTail& tail) {
  std::vector<int> ranks;
  if (tail.nonfinite) ranks = sync_.nonfinite_ranks();
  const std::string found = ranks.empty() ? fmt::format("loss {}, gradient norm {}", last_.loss, last_.grad_norm)
                                          : fmt::format("the loss of {} {} is not finite",
                                                        ranks.size() == 1 ? "rank" : "ranks", fmt::join(ranks, ", "));
  throw RankError(
      ranks.empty() ? -1 : ranks[0], Exit::diverged,
      fmt::format("training diverged at step {}: {}; the checkpoints before it are intact; try a smaller train.lr, "
                  "a train.warmup, or look at the data of this step",
                  done_ + 1, found));
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
  last_.data_seconds = clock_.seconds(Phase::data), last_.forward_seconds = clock_.seconds(Phase::forward);
  last_.backward_seconds = clock_.seconds(Phase::backward), last_.comm_seconds = clock_.seconds(Phase::comm);
  last_.optimizer_seconds = clock_.seconds(Phase::optimizer);
  for (Observer* o : observers_) o->stepped(last_);
}

}  // namespace viaduct
