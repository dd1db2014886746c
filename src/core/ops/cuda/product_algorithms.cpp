#include "core/ops/cuda/product_algorithms.hpp"

#include <charconv>
#include <string_view>

namespace viaduct::ops::cuda {
namespace {

constexpr std::string_view kTitle = "viaduct product algorithms 1 for ", kArrow = " -> ", kApart = "apart";

// The fields of a line, visited in the order of the text: f(name, value, largest allowed).
template <class Key, class F>
void visit_key(Key& key, F f) {
  constexpr int64_t kMost = int64_t(1) << 40;
  f("rows", key.rows, kMost), f("columns", key.columns, kMost), f("depth", key.depth, kMost);
  f("left_transposed", key.left_transposed, 1), f("right_transposed", key.right_transposed, 1);
  f("operands", key.operands, int64_t(DType::bf16)), f("result", key.result, int64_t(DType::bf16));
  f("added", key.added, 1), f("bias", key.bias, 1);
  f("epilogue", key.epilogue, int64_t(Epilogue::left_sums)), f("alignment", key.alignment, 16);
}
template <class Algorithm, class F>
void visit_algorithm(Algorithm& a, F f) {
  constexpr int64_t kMost = 0x7fffffff, kShort = 0xffff;
  f("id", a.id, kMost), f("tile", a.tile, kMost), f("stages", a.stages, kMost), f("split_k", a.split_k, kMost);
  f("reduction", a.reduction, kMost), f("swizzle", a.swizzle, kMost), f("custom", a.custom, kMost);
  f("inner_shape", a.inner_shape, kShort), f("cluster_shape", a.cluster_shape, kShort);
}

class Writer {
 public:
  template <class T>
  void operator()(const char* name, T value, int64_t) {
    text += fmt::format("{}{} {}", text.empty() ? "" : " ", name, int64_t(value));
  }
  std::string text;
};

// Reads "name value name value ..", whose names are known; `wrong` says what was not as expected.
class Reader {
 public:
  explicit Reader(std::string_view rest) : rest_(rest) {}
  template <class T>
  void operator()(const char* name, T& value, int64_t largest) {
    if (!wrong.empty()) return;
    if (word() != name) return void(wrong = fmt::format("the field '{}' was expected", name));
    std::string_view digits = word();
    int64_t number = 0;
    auto [end, error] = std::from_chars(digits.begin(), digits.end(), number);
    if (error != std::errc() || end != digits.end() || number < 0 || number > largest)
      wrong = fmt::format("'{}' should be a number from 0 to {}, found '{}'", name, largest, digits);
    value = T(number);
  }
  bool done() const { return rest_.empty(); }
  std::string wrong;

 private:
  std::string_view word() {
    size_t end = std::min(rest_.find(' '), rest_.size());
    std::string_view w = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    return w;
  }
  std::string_view rest_;
};

// What is wrong with a line, or nothing.
std::string parse(std::string_view line, ProductKey& key, ProductAlgorithm& algorithm) {
  size_t arrow = line.find(kArrow);
  if (arrow == line.npos) return fmt::format("a product, '{}' and an algorithm were expected", kArrow);
  Reader product(line.substr(0, arrow));
  visit_key(key, std::ref(product));
  if (!product.wrong.empty()) return product.wrong;
  if (!product.done()) return "the product ends in something unknown";
  std::string_view rest = line.substr(arrow + kArrow.size());
  algorithm.apart = rest == kApart;
  if (algorithm.apart) return "";
  Reader attributes(rest);
  visit_algorithm(algorithm, std::ref(attributes));
  return !attributes.wrong.empty() || attributes.done() ? attributes.wrong : "the algorithm ends in something unknown";
}

std::string_view take_line(std::string_view& text) {
  size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

}  // namespace

std::string to_string(const ProductKey& key) {
  Writer writer;
  visit_key(key, std::ref(writer));
  return writer.text;
}

std::string to_string(const ProductAlgorithm& algorithm) {
  if (algorithm.apart) return std::string(kApart);
  Writer writer;
  visit_algorithm(algorithm, std::ref(writer));
  return writer.text;
}

std::vector<ProductKey> ProductAlgorithms::without_algorithm() const {
  std::vector<ProductKey> keys;
  for (const ProductKey& key : recorded_)
    if (!chosen_.contains(key)) keys.push_back(key);
  return keys;
}

void ProductAlgorithms::choose(const ProductKey& key, const ProductAlgorithm& algorithm) { chosen_[key] = algorithm; }

std::optional<ProductAlgorithm> ProductAlgorithms::find(const ProductKey& key) const {
  auto found = chosen_.find(key);
  return found == chosen_.end() ? std::nullopt : std::optional(found->second);
}

std::string ProductAlgorithms::text(const std::string& library) const {
  std::string text = fmt::format("{}{}\n", kTitle, library);
  for (const auto& [key, algorithm] : chosen_)
    text += fmt::format("{}{}{}\n", to_string(key), kArrow, to_string(algorithm));
  return text;
}

bool ProductAlgorithms::load(const std::string& text, const std::string& library) {
  std::string_view rest = text, title = take_line(rest);
  if (!title.starts_with(kTitle))
    fail_input(
        fmt::format("a table of product algorithms should begin with '{}', found '{}'; remove it, and the "
                    "algorithms are measured again",
                    kTitle, title.substr(0, 80)));
  if (title.substr(kTitle.size()) != library) return false;
  std::map<ProductKey, ProductAlgorithm> taken;
  for (int number = 2; !rest.empty(); ++number) {
    std::string_view line = take_line(rest);
    ProductKey key;
    ProductAlgorithm algorithm;
    std::string wrong = parse(line, key, algorithm);
    if (!wrong.empty())
      fail_input(
          fmt::format("line {} of the table of product algorithms, '{}': {}; remove the table, and the "
                      "algorithms are measured again",
                      number, line, wrong));
    taken[key] = algorithm;
  }
  for (const auto& [key, algorithm] : taken) choose(key, algorithm);
  return true;
}

}  // namespace viaduct::ops::cuda
