// The `split` column of labels.csv and of caption files.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.hpp"

namespace viaduct {

struct SplitValue {
  std::string_view value;
  int64_t line = 0;
};

// The value whose rows are wanted: train, or the first of eval, val, valid, validation, dev and test that occurs. An
// unknown value, or none for `split`, is an input error.
std::string split_wanted(const std::vector<SplitValue>&, Split split, const std::string& file);

}  // namespace viaduct
