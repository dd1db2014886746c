#include "core/ops/cuda/product_tuning.hpp"

#include <algorithm>
#include <array>

#include "core/base/philox.hpp"
#include "core/base/range.hpp"
#include "core/device/cuda/runtime.hpp"
#include "core/device/device_timer.hpp"
#include "core/ops/cuda/product.hpp"
#include "core/ops/cuda/product_choice.hpp"
#include "core/ops/workspace.hpp"

namespace viaduct::ops::cuda {
namespace {

constexpr int kCandidates = 8, kRounds = 5;
constexpr int64_t kLeastLaunches = 4, kMostSets = 16;  // in a round; of operands, so that the cache does not hold them

// A product of that key on meta, and its tensors in turn.
Product product_of(const ProductKey& key) {
  Shape left{key.rows, key.depth}, right{key.depth, key.columns};
  if (key.left_transposed) left = {key.depth, key.rows};
  if (key.right_transposed) right = {key.columns, key.depth};
  Device meta = Device::meta(Device::Kind::cuda);
  Tensor d{nullptr, {key.rows, key.columns}, key.result, meta};
  Product p{.d = d,
            .left = {nullptr, left, key.operands, meta},
            .right = {nullptr, right, key.operands, meta},
            .left_transposed = key.left_transposed,
            .right_transposed = key.right_transposed};
  if (key.added) p.added = d;
  if (key.bias) p.bias = {nullptr, {key.columns}, key.result, meta};
  if (key.epilogue == Epilogue::left_sums) p.left_sums = {nullptr, {key.rows}, DType::f32, meta};
  if (key.epilogue == Epilogue::none || p.left_sums) return p;
  p.activation = Activation::gelu_tanh, p.slope = key.epilogue == Epilogue::gelu_slope;
  if (key.epilogue != Epilogue::gelu) p.pre = d;
  return p;
}
std::array<Tensor*, 7> tensors_of(Product& p) {
  return {&p.d, &p.left, &p.right, &p.added, &p.bias, &p.pre, &p.left_sums};
}

// Fills memory of a device with bf16 numbers in [-1, 1), which two by two are such fp32 numbers too.
void fill_randomly(const Buffer& memory, Stream& stream) {
  std::vector<bf16> numbers(size_t(std::min<int64_t>(memory.bytes() / 2, 1 << 20)));
  RandomSequence random(1, Draw::init);
  for (bf16& x : numbers) x = bf16(float(random.uniform(-1, 1)));
  Tensor block{numbers.data(), {int64_t(numbers.size())}, DType::bf16, Device::cpu()};
  for (int64_t at = 0; at < memory.bytes() / 2; at += block.numel()) {
    int64_t count = std::min(block.numel(), memory.bytes() / 2 - at);
    transfer(memory.view(at * 2, {count}, DType::bf16), block.slice(0, count), stream);
  }
  stream.synchronize();
}

// One product with operands of its own, several times over.
class Trial {
 public:
  Trial(Device device, const ProductKey& key) : work_(device, working_bytes(key), key.operands) {
    Product meta = product_of(key);
    int64_t bytes = 0;
    for (Tensor* t : tensors_of(meta)) bytes += place_of(*t, key);
    int64_t cache = viaduct::cuda::device_info(device.index).l2_bytes;
    int64_t sets = std::clamp<int64_t>(ceil_div(2 * cache, bytes), 1, kMostSets);
    memory_ = Buffer(device, bytes * sets);
    fill_randomly(memory_, work_.stream);
    for (int64_t set = 0, at = 0; set < sets; ++set) {
      Product p = meta;
      for (Tensor* t : tensors_of(p)) {
        if (!*t) continue;
        int64_t place = place_of(*t, key);
        *t = memory_.view(at + offset_of(*t, key), t->shape, t->dtype), at += place;
      }
      expect(key_of(p) == key, "what is measured is the product that was planned");
      sets_.push_back(p);
    }
  }

  // Of one product: the median of rounds.
  double seconds() {
    std::vector<double> rounds;
    DeviceTimer timer(work_.stream);
    int64_t launches = std::max(kLeastLaunches, int64_t(sets_.size()));
    for (int round = -1; round < kRounds; ++round) {  // the first warms up
      timer.start();
      for (int64_t i = 0; i < launches; ++i) compute(sets_[size_t(i) % sets_.size()]);
      timer.stop();
      const double seconds = timer.seconds();
      if (round >= 0) rounds.push_back(seconds / double(launches));
    }
    std::nth_element(rounds.begin(), rounds.begin() + kRounds / 2, rounds.end());
    return rounds[kRounds / 2];
  }

  bool repeats() { return results() == results(); }

 private:
  static int64_t working_bytes(const ProductKey& key) {
    Arena arena(Device::meta(Device::Kind::cuda));
    auto scope = arena.scope("product");
    product_memory(arena, product_of(key));
    return arena.peak().bytes;
  }
  // From an aligned address to one that is aligned as the key says and no better, where the type allows it.
  static int64_t offset_of(const Tensor& t, const ProductKey& key) {
    return key.alignment < 16 ? std::max<int64_t>(key.alignment, size_of(t.dtype)) : 0;
  }
  static int64_t place_of(const Tensor& t, const ProductKey& key) {
    return t ? align_up(t.bytes() + offset_of(t, key), kWorkspaceAlignment) : 0;
  }

  void compute(const Product& p) {
    auto scope = work_.arena.scope("product");
    multiply(work_.ctx, p);
  }

  std::vector<std::byte> results() {
    const Product& p = sets_[0];
    if (p.left_sums) fill_zero(p.left_sums, work_.stream);
    compute(p);
    std::vector<std::byte> all;
    for (const Tensor& t : {p.d, p.pre, p.left_sums}) {
      if (!t) continue;
      all.resize(all.size() + size_t(t.bytes()));
      Tensor copy = t;
      copy.data = all.data() + all.size() - t.bytes(), copy.device = Device::cpu();
      transfer(copy, t, work_.stream);
      work_.stream.synchronize();
    }
    return all;
  }

  Workspace work_;
  Buffer memory_;
  std::vector<Product> sets_;
};

std::vector<ProductAlgorithm> candidates(Device device, const ProductKey& key) {
  ProductPlan plan(device.index, key);
  std::vector<ProductAlgorithm> found;
  for (const cublasLtMatmulAlgo_t& answer : plan.heuristics(kCandidates)) {
    ProductAlgorithm attributes = ProductPlan::attributes(answer);
    if (plan.build(attributes)) found.push_back(attributes);
  }
  if (key.epilogue != Epilogue::none) found.push_back({.apart = true});
  return found;
}

void tune(Device device, const ProductKey& key) {
  ProductChoice& choice = ProductChoice::of_process();
  ProductKey plain = key;
  plain.epilogue = Epilogue::none;
  if (plain != key && !choice.find(plain)) tune(device, plain);

  std::vector<std::pair<double, ProductAlgorithm>> measured;
  Trial trial(device, key);
  for (const ProductAlgorithm& candidate : candidates(device, key)) {
    choice.choose(key, candidate);
    measured.emplace_back(trial.seconds(), candidate);
  }
  std::stable_sort(measured.begin(), measured.end(), [](auto& a, auto& b) { return a.first < b.first; });
  for (const auto& [seconds, candidate] : measured) {
    choice.choose(key, candidate);
    if (trial.repeats()) return;
  }
  choice.forget(key);
}

}  // namespace

void begin_planning_products() { ProductChoice::of_process().forget_recorded(); }

void tune_products(Device device, double least_flops) {
  ProductChoice& choice = ProductChoice::of_process();
  for (const ProductKey& key : choice.without_algorithm())
    if (!choice.find(key) && 2.0 * double(key.rows) * double(key.columns) * double(key.depth) >= least_flops)
      tune(device, key);
}

std::string product_library(Device device) {
  return fmt::format("{}, cuBLASLt {}", viaduct::cuda::device_info(device.index).name, cublaslt().version());
}
std::string product_algorithms(Device device) { return ProductChoice::of_process().text(product_library(device)); }
bool use_product_algorithms(Device device, const std::string& text) {
  return ProductChoice::of_process().load(text, product_library(device));
}

}  // namespace viaduct::ops::cuda
