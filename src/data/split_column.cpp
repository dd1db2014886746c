#include "data/split_column.hpp"

#include <algorithm>

#include "core/base/check.hpp"

namespace viaduct {
namespace {

// Of several splits that are not for training, evaluation takes the first of these that occurs.
constexpr std::string_view kEvalNames[] = {"eval", "val", "valid", "validation", "dev", "test"};

}  // namespace

std::string split_wanted(const std::vector<SplitValue>& values, Split split, const std::string& file) {
  auto occurs = [&](std::string_view name) {
    return std::any_of(values.begin(), values.end(), [&](const SplitValue& v) { return v.value == name; });
  };
  for (const SplitValue& v : values)
    if (v.value != "train" && std::find(std::begin(kEvalNames), std::end(kEvalNames), v.value) == std::end(kEvalNames))
      fail_input(fmt::format("{}:{}: the split '{}' is not known; expected train or one of {}", file, v.line, v.value,
                             fmt::join(kEvalNames, ", ")));
  if (split == Split::train) {
    if (occurs("train")) return "train";
    fail_input(fmt::format("{}: no line has the split train", file));
  }
  for (std::string_view name : kEvalNames)
    if (occurs(name)) return std::string(name);
  fail_input(fmt::format("{}: no line has a split for evaluation (one of {})", file, fmt::join(kEvalNames, ", ")));
}

}  // namespace viaduct
