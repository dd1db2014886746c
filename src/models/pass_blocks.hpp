// The blocks of a model whose passes (one per head) reach different parts of it.
#pragma once
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "core/nn/parameter.hpp"

namespace viaduct {

using Passes = unsigned;  // a set of those that a model has, one bit each

// Registers blocks: one that no pass of the model reaches, or that is not to be trained, is frozen.
class PassBlocks {
 public:
  explicit PassBlocks(ParameterStore& store) : store_(store) {}

  Range add(const std::string& name, Passes reached_by, bool frozen, const std::function<void()>& add_parameters) {
    const bool trained = !frozen && reached_by;
    Range range = store_.block(name, add_parameters, !trained);
    if (trained) trained_.push_back({range, reached_by});
    return range;
  }
  ParameterStore& store() { return store_; }

  // At the start of a backward: what this pass does not reach is final, and buckets need not wait for it.
  void report_unreached(Passes pass, GradSink& sink) const {
    for (auto b = trained_.rbegin(); b != trained_.rend(); ++b)
      if (!(b->reached_by & pass)) sink.ready(b->range);
  }
  void report_all(GradSink& sink) const {
    for (auto b = trained_.rbegin(); b != trained_.rend(); ++b) sink.ready(b->range);
  }

 private:
  struct Trained {
    Range range;
    Passes reached_by;
  };
  ParameterStore& store_;
  std::vector<Trained> trained_;
};

// What one forward or backward tells the sink (rule R5): a block that is used in several places is needed and opened
// once, at its first use. Frozen blocks are passed over.
class BlockReports {
 public:
  BlockReports() = default;  // of inference: nobody listens
  BlockReports(ParameterStore& store, GradSink* sink) : store_(&store), sink_(sink) {}
  BlockReports(const BlockReports&) = delete;

  void need(Range block) {
    if (first_use(block)) sink_->need(block);
  }
  void open(Range block) {
    if (first_use(block)) store_->open(block, *sink_);
  }
  void ready(Range block) {
    if (is_trained(block)) sink_->ready(block);
  }

 private:
  static bool is_trained(Range block) { return !block.empty() && block.begin < ParameterStore::kFrozenBegin; }
  bool first_use(Range block) {
    if (!sink_ || !is_trained(block) || std::find(used_.begin(), used_.end(), block) != used_.end()) return false;
    used_.push_back(block);
    return true;
  }
  ParameterStore* store_ = nullptr;
  GradSink* sink_ = nullptr;
  std::vector<Range> used_;
};

}  // namespace viaduct
