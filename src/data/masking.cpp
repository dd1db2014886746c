#include "data/masking.hpp"

#include <algorithm>

#include "core/base/philox.hpp"
#include "core/ops/loss.hpp"

namespace viaduct {
namespace {

constexpr double kBecomesMask = 0.8, kBecomesAny = 0.9;

bool is_special(int32_t id, const Tokenizer& t) {
  return id == t.bos() || id == t.pad() || id == t.eos() || id == t.unk() || id == t.mask();
}

// The draws of the n-th token that is not special: a stream of its own, so that the choice depends on no token.
RandomSequence draws_of(uint64_t key, int64_t n) { return {key, Draw::mask, uint32_t(n)}; }

}  // namespace

int64_t maskable_tokens(const std::vector<int32_t>& ids, const Tokenizer& tokenizer) {
  return std::count_if(ids.begin(), ids.end(), [&](int32_t id) { return !is_special(id, tokenizer); });
}

int64_t masked_tokens(int64_t maskable, uint64_t key) {
  int64_t count = 0;
  for (int64_t n = 0; n < maskable; ++n) count += draws_of(key, n).uniform() < kMaskProbability;
  return count;
}

MaskedText mask_tokens(const std::vector<int32_t>& ids, const Tokenizer& tokenizer, uint64_t key) {
  MaskedText masked{ids, std::vector<int32_t>(ids.size(), ops::kIgnoredLabel)};
  int64_t n = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (is_special(ids[i], tokenizer)) continue;
    RandomSequence draws = draws_of(key, n++);
    if (draws.uniform() >= kMaskProbability) continue;
    masked.labels[i] = ids[i];
    const double kind = draws.uniform();
    if (kind < kBecomesMask)
      masked.ids[i] = tokenizer.mask();
    else if (kind < kBecomesAny)
      masked.ids[i] = int32_t(draws.below(uint64_t(tokenizer.vocab_size())));
  }
  return masked;
}

}  // namespace viaduct
