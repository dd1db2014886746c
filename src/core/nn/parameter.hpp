// Parameters live in two flat buffers, values and gradients, in the order of the forward pass. Buckets, shards,
// clipping, the optimizer, checkpoints and broadcasts are all ranges of them. The gradient buffer begins with kTailSlot
// elements for the step tail (ops/step_tail.hpp), beside the range whose gradient is ready last, so that it travels
// with the last bucket.
//
// What is frozen (a tower that is not trained, a part that no loss reaches) has values in a buffer of its own and
// neither gradients nor a place among the blocks: synchronisation, clipping and the optimizer never see it.
#pragma once
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/base/range.hpp"
#include "core/device/buffer.hpp"
#include "core/nn/grad_sink.hpp"
#include "core/ops/step_tail.hpp"

namespace viaduct {

// How a parameter starts when no checkpoint gives it: N(0, scale) cut at +-2, or a constant.
struct Init {
  enum class Kind { zeros, constant, normal } kind = Kind::zeros;
  float scale = 0;
  static Init zeros() { return {}; }
  static Init constant(float value) { return {Kind::constant, value}; }
  static Init ones() { return constant(1); }
  static Init normal(float stddev) { return {Kind::normal, stddev}; }
};

struct ParameterOptions {
  Init init{};
  bool decay = true;  // weight decay applies
};

struct Parameter {
  std::string name;  // the checkpoint's name
  Shape shape;
  ParameterOptions options;
  Range range;   // elements of the flat buffers
  Tensor value;  // set by materialize
  Tensor grad;   // set by open: may point into a bucket; fp32 (fp64 in gradient checks); absent when frozen
  bool frozen() const;
};

// fp32 values of a part of a store, on any device: element 0 is element range.begin of the store.
struct ValuePart {
  Range range;
  Tensor values;
};
// The values of `p` in the part that holds it, which lies on the host; an error of ours when none does.
float* values_of(const std::vector<ValuePart>&, const Parameter& p);

// fp32 values of a parameter, wherever they lie; they stay until the next call.
using ValuesOf = std::function<const float*(const Parameter&)>;

class ParameterStore {
 public:
  static constexpr int64_t kTailSlot = ops::kTailSlot;
  static constexpr int64_t kAlignment = 64;                  // elements; every parameter starts on it
  static constexpr int64_t kFrozenBegin = int64_t(1) << 48;  // ranges of frozen parameters count from here

  // Registration, in forward order. References stay valid.
  Parameter& add(std::string name, Shape shape, ParameterOptions options = {});
  // What `add` registers inside becomes one block: one range of R5, reported once per backward. A frozen one is not
  // among blocks(), and nobody reports it.
  Range block(const std::string& name, const std::function<void()>& add_parameters, bool frozen = false);

  // Allocates the flat buffers. `grad` absent (with_gradients = false): a frozen store. Of the gradients those of `kept`
  // alone where ranks divide them; parameters then have theirs from open() on.
  void materialize(Device, DType value_dtype, bool with_gradients, const Allocate& = allocate_plain,
                   std::optional<Range> kept = {});
  // Fills every parameter by its Init, each from its own Philox key (seed, name): independent of order and of ranks.
  void initialize(uint64_t seed);
  void initialize(Parameter&, uint64_t seed);

  // Points the gradients of `block` at the storage that the sink opens for it.
  void open(Range block, GradSink& sink);
  void zero_gradients(Stream&);

  std::deque<Parameter>& parameters() { return parameters_; }
  const std::deque<Parameter>& parameters() const { return parameters_; }
  Parameter& find(const std::string& name);
  const std::vector<Range>& blocks() const { return blocks_; }  // those that are trained
  const std::string& block_name(Range) const;
  std::string describe(int64_t element) const;  // the parameter there: for messages

  Range range() const { return {kTailSlot, size_}; }  // what is trained, without the tail
  Range frozen_range() const { return {kFrozenBegin, frozen_end_}; }
  int64_t size() const { return size_; }  // elements of a flat buffer, the tail slot included
  int64_t count() const;                  // parameters without padding, the frozen ones included
  int64_t frozen_count() const;
  bool trainable() const { return bool(grads_); }
  DType dtype() const { return values_.dtype; }
  Tensor values() const { return values_; }                // [size]
  Tensor grads() const { return grads_; }                  // the step tail, then what is kept: [size] if that is all
  Tensor frozen_values() const { return frozen_values_; }  // [frozen_range().size()]; absent when nothing is frozen
  Tensor values(Range r) const {
    return r.begin >= kFrozenBegin ? frozen_values_.slice(r.begin - kFrozenBegin, r.end - kFrozenBegin)
                                   : values_.slice(r.begin, r.end);
  }
  Tensor grads(Range r) const {
    const int64_t left_out = r.begin < kTailSlot ? 0 : kept_.begin - kTailSlot;
    return grads_.slice(r.begin - left_out, r.end - left_out);
  }

 private:
  std::deque<Parameter> parameters_;
  std::vector<Range> blocks_;
  std::vector<std::string> block_names_;
  int64_t size_ = kTailSlot, frozen_end_ = kFrozenBegin;
  Range kept_;  // of the gradients
  bool in_frozen_block_ = false;
  Buffer value_buffer_, grad_buffer_, frozen_buffer_;
  Tensor values_, grads_, frozen_values_;
};

inline bool Parameter::frozen() const { return range.begin >= ParameterStore::kFrozenBegin; }

}  // namespace viaduct
