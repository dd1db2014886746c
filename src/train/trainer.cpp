#include "train/trainer.hpp"

#include <cmath>

#include "core/optim/clip.hpp"

namespace viaduct {

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
      squared_norm_(work.arena.device(), sizeof(double)),
      done_(options.start_step) {
  work_.ctx.clock = &clock_;
}

RunEnd Trainer::run() {
  bool stopping = false;
  clock_.reset();
  last_report_ = std::chrono::steady_clock::now();
  while (done_ < options_.total_steps && !stopping) {
    if (hooks_.before_step) hooks_.before_step(done_);
    StepTail tail = step();
    ++done_;
    report(tail);
    stopping = tail.stop > 0;
    bool last = done_ == options_.total_steps;
    std::map<std::string, double> metrics;
    if (hooks_.evaluate && !stopping && (last || (options_.eval_every && done_ % options_.eval_every == 0))) {
      clock_.enter(Phase::eval);
      metrics = hooks_.evaluate();
      for (Observer* o : observers_) o->evaluated(done_, epoch(), metrics);
    }
    if (hooks_.save && (last || stopping || (options_.checkpoint_every && done_ % options_.checkpoint_every == 0))) {
      clock_.enter(Phase::checkpoint);
      std::string folder = hooks_.save(done_, metrics);
      for (Observer* o : observers_) o->saved(done_, folder);
    }
  }
  return stopping && done_ < options_.total_steps ? RunEnd::preempted : RunEnd::completed;
}

StepTail Trainer::step() {
  Ctx& ctx = work_.ctx;
  ctx.training = true;
  task_.parameters().zero_gradients();
  for (int64_t pass = 0; pass < options_.accumulate; ++pass) {
    clock_.enter(Phase::data);
    Batch batch = loader_.next();
    clock_.enter(Phase::forward);
    bool stop = pass == 0 && hooks_.stop_requested && hooks_.stop_requested();
    sync_.begin({.quarantined = int64_t(batch.quarantined.size()), .stop = stop}, pass + 1 == options_.accumulate);
    ctx.sample_keys = batch.keys;
    if (batch.size() > 0)
      task_.train(ctx, batch, sync_);
    else
      report_all(task_.parameters(), sync_);
  }
  clock_.enter(Phase::comm);
  StepTail tail = sync_.finish();
  clock_.enter(Phase::optimizer);
  ctx.training = false;
  update(tail);
  return tail;
}

void Trainer::update(const StepTail& tail) {
  ParameterStore& store = task_.parameters();
  Tensor norm = squared_norm_.view(0, {1}, DType::f64);
  ops::squared_norm(work_.ctx, norm, store.grads(store.range()));
  Clipped clipped = clip(*data<double>(norm), double(tail.terms), options_.clip_norm);
  last_.learning_rate = options_.learning_rate * options_.schedule.factor(done_);
  last_.grad_norm = clipped.norm;
  last_.loss = tail.loss_sum / double(tail.terms);
  if (tail.nonfinite || !std::isfinite(clipped.norm) || !std::isfinite(last_.loss))
    fail(Exit::diverged,
         fmt::format("training diverged at step {}: loss {}, gradient norm {}; the checkpoints before it are "
                     "intact; try a smaller train.lr, a train.warmup, or look at the data of this step",
                     done_ + 1, last_.loss, clipped.norm));
  optimizer_.step(work_.ctx, last_.learning_rate, clipped.scale);
  work_.packed.values_changed();
}

void Trainer::report(const StepTail& tail) {
  auto now = std::chrono::steady_clock::now();
  clock_.enter(Phase::finish);
  double seconds = std::chrono::duration<double>(now - last_report_).count();
  last_.step = done_, last_.total_steps = options_.total_steps;
  last_.epoch = epoch();
  last_.samples = loader_.plan().samples_before(done_);
  last_.samples_per_second = double(tail.terms) / seconds;
  last_.quarantined += tail.quarantined;
  last_.data_seconds = clock_.seconds(Phase::data), last_.forward_seconds = clock_.seconds(Phase::forward);
  last_.backward_seconds = clock_.seconds(Phase::backward), last_.comm_seconds = clock_.seconds(Phase::comm);
  last_.optimizer_seconds = clock_.seconds(Phase::optimizer);
  for (Observer* o : observers_) o->stepped(last_);
  clock_.reset();
  last_report_ = std::chrono::steady_clock::now();
}

}  // namespace viaduct
