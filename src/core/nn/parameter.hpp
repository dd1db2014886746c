// Parameters live in two flat buffers, values and gradients, in the order of the forward pass. Buckets, shards,
// clipping, the optimizer, checkpoints and broadcasts are all ranges of them. The gradient buffer begins with kTailSlot
// elements for the step tail (comm/step_tail.hpp), beside the range whose gradient is ready last, so that it travels
// with the last bucket.
#pragma once
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "core/base/range.hpp"
#include "core/device/buffer.hpp"
#include "core/nn/grad_sink.hpp"

namespace viaduct {

// How a parameter starts when no checkpoint gives it: N(0, scale) cut at +-2, or a constant.
struct Init {
  enum class Kind { zeros, ones, normal } kind = Kind::zeros;
  float scale = 0;
  static Init zeros() { return {}; }
  static Init ones() { return {Kind::ones, 1}; }
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
  Tensor grad;   // set by open: may point into a bucket; fp32 (fp64 in gradient checks); absent in a frozen store
};

class ParameterStore {
 public:
  static constexpr int64_t kTailSlot = 64;
  static constexpr int64_t kAlignment = 64;  // elements; every parameter starts on it

  // Registration, in forward order. References stay valid.
  Parameter& add(std::string name, Shape shape, ParameterOptions options = {});
  // What `add` registers inside becomes one block: one range of R5, reported once per backward.
  Range block(const std::string& name, const std::function<void()>& add_parameters);

  // Allocates the flat buffers. `grad` absent (with_gradients = false): a frozen store.
  void materialize(Device, DType value_dtype, bool with_gradients, const Allocate& = allocate_plain);
  // Fills every parameter by its Init, each from its own Philox key (seed, name): independent of order and of ranks.
  void initialize(uint64_t seed);
  void initialize(Parameter&, uint64_t seed);

  // Points the gradients of `block` at the storage that the sink opens for it.
  void open(Range block, GradSink& sink);
  void zero_gradients();

  std::deque<Parameter>& parameters() { return parameters_; }
  const std::deque<Parameter>& parameters() const { return parameters_; }
  Parameter& find(const std::string& name);
  const std::vector<Range>& blocks() const { return blocks_; }
  const std::string& block_name(Range) const;
  std::string describe(int64_t element) const;  // the parameter there: for messages

  Range range() const { return {kTailSlot, size_}; }  // all parameters, without the tail
  int64_t size() const { return size_; }              // elements of a flat buffer, the tail slot included
  int64_t count() const;                              // parameters without padding
  bool trainable() const { return bool(grads_); }
  DType dtype() const { return values_.dtype; }
  Tensor values() const { return values_; }  // [size]
  Tensor grads() const { return grads_; }    // [size]
  Tensor values(Range r) const { return values_.slice(r.begin, r.end); }
  Tensor grads(Range r) const { return grads_.slice(r.begin, r.end); }

 private:
  std::deque<Parameter> parameters_;
  std::vector<Range> blocks_;
  std::vector<std::string> block_names_;
  int64_t size_ = kTailSlot;
  Buffer value_buffer_, grad_buffer_;
  Tensor values_, grads_;
};

}  // namespace viaduct
