#include "core/ops/cuda/product_choice.hpp"

#include "core/base/log.hpp"

namespace viaduct::ops::cuda {

ProductChoice& ProductChoice::of_process() {
  static ProductChoice choice;
  return choice;
}

void ProductChoice::forget_recorded() {
  std::lock_guard lock(mutex_);
  algorithms_.forget_recorded();
}

void ProductChoice::record(const ProductKey& key) {
  std::lock_guard lock(mutex_);
  algorithms_.record(key);
}

std::vector<ProductKey> ProductChoice::without_algorithm() {
  std::lock_guard lock(mutex_);
  return algorithms_.without_algorithm();
}

void ProductChoice::choose(const ProductKey& key, const ProductAlgorithm& algorithm) {
  std::lock_guard lock(mutex_);
  algorithms_.choose(key, algorithm);
  std::erase_if(planned_, [&](const auto& entry) { return entry.first.second == key; });
}

void ProductChoice::forget(const ProductKey& key) {
  std::lock_guard lock(mutex_);
  algorithms_.forget(key);
  std::erase_if(planned_, [&](const auto& entry) { return entry.first.second == key; });
}

std::optional<ProductAlgorithm> ProductChoice::find(const ProductKey& key) {
  std::lock_guard lock(mutex_);
  return algorithms_.find(key);
}

std::string ProductChoice::text(const std::string& library) {
  std::lock_guard lock(mutex_);
  return algorithms_.text(library);
}

bool ProductChoice::load(const std::string& text, const std::string& library) {
  std::lock_guard lock(mutex_);
  planned_.clear();
  return algorithms_.load(text, library);
}

bool ProductChoice::fuses(int device, const ProductKey& key) {
  std::lock_guard lock(mutex_);
  if (auto known = algorithms_.find(key)) return !known->apart;
  return key.epilogue != Epilogue::left_sums && planned(device, key).algorithm;
}

bool ProductChoice::run(int device, const ProductKey& key, const ProductOperands& operands, cudaStream_t stream) {
  std::lock_guard lock(mutex_);
  Planned& p = planned(device, key);
  if (p.algorithm) p.plan.run(operands, *p.algorithm, stream);
  return p.algorithm.has_value();
}

ProductChoice::Planned& ProductChoice::planned(int device, const ProductKey& key) {
  auto known = planned_.find({device, key});
  if (known != planned_.end()) return known->second;
  Planned made{ProductPlan(device, key), {}};
  if (auto chosen = algorithms_.find(key)) {
    made.algorithm = made.plan.build(*chosen);
    if (!made.algorithm)
      fail_input(
          fmt::format("cuBLASLt cannot compute the product {} with the algorithm that a table names for it ({}); "
                      "remove the table of product algorithms, and they are measured again",
                      describe(key), to_string(*chosen)));
  } else if (auto answers = made.plan.heuristics(1); !answers.empty()) {
    made.algorithm = answers[0];
  } else if (key.epilogue == Epilogue::none) {
    log::warn("cuBLASLt has no algorithm for the product {}: a plain kernel computes it, slowly", describe(key));
  }
  return planned_.emplace(std::pair(device, key), std::move(made)).first->second;
}

}  // namespace viaduct::ops::cuda
