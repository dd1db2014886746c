#include "core/nn/parameter.hpp"

#include <algorithm>
#include <cmath>

#include "core/base/philox.hpp"
#include "core/device/host_copy.hpp"

namespace viaduct {

Parameter& ParameterStore::add(std::string name, Shape shape, ParameterOptions options) {
  expect(!values_, "parameters are registered before the store is materialized");
  int64_t& end = in_frozen_block_ ? frozen_end_ : size_;
  int64_t begin = end;
  end += align_up(shape.numel(), kAlignment);
  return parameters_.emplace_back(Parameter{std::move(name), shape, options, {begin, begin + shape.numel()}, {}, {}});
}

Range ParameterStore::block(const std::string& name, const std::function<void()>& add_parameters, bool frozen) {
  int64_t& end = frozen ? frozen_end_ : size_;
  Range range{end, end};
  in_frozen_block_ = frozen;
  add_parameters();
  in_frozen_block_ = false;
  range.end = end;
  expect(!range.empty(), "a block has parameters");
  if (frozen) return range;
  blocks_.push_back(range);
  block_names_.push_back(name);
  return range;
}

void ParameterStore::materialize(Device device, DType dtype, bool with_gradients, const Allocate& allocate,
                                 std::optional<Range> kept) {
  int64_t covered = kTailSlot;
  for (Range b : blocks_) expect(std::exchange(covered, b.end) == b.begin, "the blocks cover the store without gaps");
  expect(covered == size_, "every parameter belongs to a block");
  value_buffer_ = allocate(device, size_ * size_of(dtype));
  values_ = value_buffer_.view(0, {size_}, dtype);
  if (!frozen_range().empty()) {
    frozen_buffer_ = allocate(device, frozen_range().size() * size_of(dtype));
    frozen_values_ = frozen_buffer_.view(0, {frozen_range().size()}, dtype);
  }
  if (with_gradients) {
    DType grad_dtype = stat_dtype(dtype);
    kept_ = kept.value_or(range());
    grad_buffer_ = allocate(device, (kTailSlot + kept_.size()) * size_of(grad_dtype));
    grads_ = grad_buffer_.view(0, {kTailSlot + kept_.size()}, grad_dtype);
  }
  for (Parameter& p : parameters_) {
    p.value = values(p.range).reshape(p.shape);
    if (with_gradients && !kept && !p.frozen()) p.grad = grads(p.range).reshape(p.shape);
  }
}

void ParameterStore::initialize(uint64_t seed) {
  for (Parameter& p : parameters_) initialize(p, seed);
}

namespace {
// Two normal numbers from two uniform ones (Box & Muller 1958), cut at +-2 as torch's trunc_normal_ does.
class Normal {
 public:
  Normal(RandomSequence random, double stddev) : random_(random), stddev_(stddev) {}
  double next() {
    for (;;) {
      double x = has_second_ ? second_ : fresh();
      has_second_ = !has_second_;
      if (std::abs(x) <= 2) return x;
    }
  }

 private:
  double fresh() {
    double radius = stddev_ * std::sqrt(-2 * std::log(1 - random_.uniform())), angle = 2 * M_PI * random_.uniform();
    second_ = radius * std::sin(angle);
    return radius * std::cos(angle);
  }
  RandomSequence random_;
  double stddev_, second_ = 0;
  bool has_second_ = false;
};
}  // namespace

void ParameterStore::initialize(Parameter& p, uint64_t seed) {
  if (p.value.device.is_meta()) return;
  constexpr int64_t kBlock = 4096;  // elements of one random sequence: blocks are filled side by side
  uint64_t key = seed;
  for (char c : p.name) key = (key ^ uint8_t(c)) * 0x100000001b3ull;  // FNV-1a of the name
  const Init init = p.options.init;
  int64_t n = p.value.numel();
  Stream stream(p.value.device);
  HostCopy values(p.value, stream, HostCopy::Fetch::no);
  dispatch(p.value.dtype, [&]<class T>() {
    T* v = data<T>(values.tensor());
#pragma omp parallel for
    for (int64_t begin = 0; begin < n; begin += kBlock) {
      Normal normal(RandomSequence(key, Draw::init, uint32_t(begin / kBlock)), init.scale);
      for (int64_t i = begin; i < std::min(n, begin + kBlock); ++i)
        v[i] =
            init.kind == Init::Kind::normal ? T(normal.next()) : T(init.kind == Init::Kind::constant ? init.scale : 0);
    }
  });
  values.store();
}

void ParameterStore::open(Range block, GradSink& sink) {
  Tensor storage = sink.open(block);
  for (Parameter& p : parameters_)
    if (block.contains(p.range))
      p.grad = storage.slice(p.range.begin - block.begin, p.range.end - block.begin).reshape(p.shape);
}

void ParameterStore::zero_gradients(Stream& stream) {
  if (trainable()) fill_zero(grads_, stream);
}

Parameter& ParameterStore::find(const std::string& name) {
  for (Parameter& p : parameters_)
    if (p.name == name) return p;
  fail(Exit::crash, "no parameter is named " + name);
}

const std::string& ParameterStore::block_name(Range range) const {
  for (size_t i = 0; i < blocks_.size(); ++i)
    if (blocks_[i] == range) return block_names_[i];
  fail(Exit::crash, fmt::format("no block is [{}, {})", range.begin, range.end));
}

std::string ParameterStore::describe(int64_t element) const {
  for (const Parameter& p : parameters_)
    if (element >= p.range.begin && element < p.range.end) return p.name;
  return element < kTailSlot ? "the step tail" : "padding";
}

int64_t ParameterStore::count() const {
  int64_t n = 0;
  for (const Parameter& p : parameters_) n += p.range.size();
  return n;
}

int64_t ParameterStore::frozen_count() const {
  int64_t n = 0;
  for (const Parameter& p : parameters_) n += p.frozen() ? p.range.size() : 0;
  return n;
}

float* values_of(const std::vector<ValuePart>& parts, const Parameter& p) {
  for (const ValuePart& part : parts)
    if (part.range.contains(p.range)) return data<float>(part.values) + (p.range.begin - part.range.begin);
  fail(Exit::crash, "no part of the values holds " + p.name);
}

}  // namespace viaduct
