// What a run amounts to, under the HF Trainer's names.
#pragma once
#include <chrono>
#include <cmath>

#include "train/step_times.hpp"

namespace viaduct {

// Of this process's part of the run. The first steps are excluded from the rates: caches and pages are cold then.
class Totals final : public Observer {
 public:
  void stepped(const StepReport& r) override {
    if (std::isfinite(r.loss)) losses_ += r.loss, ++sound_;
    if (++steps_ > kWarmup) seconds_ += r.seconds, samples_ += r.step_samples;
  }
  std::map<std::string, double> metrics() const {
    std::map<std::string, double> m;
    m["train_runtime"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
    if (sound_ > 0) m["train_loss"] = losses_ / double(sound_);
    if (seconds_ > 0) {
      m["train_samples_per_second"] = double(samples_) / seconds_;
      m["train_steps_per_second"] = double(steps_ - kWarmup) / seconds_;
    }
    return m;
  }

 private:
  static constexpr int64_t kWarmup = StepTimes::kWarmup;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  int64_t steps_ = 0, sound_ = 0, samples_ = 0;  // sound: with a finite loss
  double seconds_ = 0, losses_ = 0;
};

}  // namespace viaduct
