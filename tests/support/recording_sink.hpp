// A GradSink that opens the store's own gradients and remembers what it was told.
#pragma once
#include <string>
#include <vector>

#include "core/nn/parameter.hpp"

namespace viaduct::test {

class RecordingSink final : public GradSink {
 public:
  explicit RecordingSink(ParameterStore& store) : store_(store) {}
  void add_loss(Tensor losses, int64_t count) override {
    terms += count;
    if (losses.device.is_meta()) return;
    for (int64_t i = 0; i < losses.numel(); ++i)
      loss += losses.dtype == DType::f64 ? data<double>(losses)[i] : double(data<float>(losses)[i]);
  }
  void need(Range r) override { needed.push_back(store_.block_name(r)); }
  Tensor open(Range r) override {
    opened.push_back(store_.block_name(r));
    return store_.grads(r);
  }
  void ready(Range r) override { reported.push_back(store_.block_name(r)); }

  double loss = 0;
  int64_t terms = 0;
  std::vector<std::string> needed, opened, reported;

 private:
  ParameterStore& store_;
};

}  // namespace viaduct::test
