// Masked language modelling: which tokens are hidden, as transformers' DataCollatorForLanguageModeling does it.
#pragma once
#include <cstdint>
#include <vector>

#include "data/tokenizer.hpp"

namespace viaduct {

constexpr double kMaskProbability = 0.15;

struct MaskedText {
  std::vector<int32_t> ids, labels;  // ops::kIgnoredLabel where nothing is to be guessed
};

// Every token but the special ones is chosen with kMaskProbability; of those 80 % become the mask token, 10 % any token,
// and 10 % stay. `key` is the sample's; none may be chosen.
MaskedText mask_tokens(const std::vector<int32_t>& ids, const Tokenizer&, uint64_t key);

int64_t maskable_tokens(const std::vector<int32_t>& ids, const Tokenizer&);  // those that are not special
// How many mask_tokens() chooses, known without the tokens.
int64_t masked_tokens(int64_t maskable, uint64_t key);

}  // namespace viaduct
