// The text part of a batch. Its padded length is that of the longest text of the whole step, over all ranks and passes,
// so that shapes agree everywhere and no division of the work changes a bit; every rank knows it from a table of the
// lengths of all texts, made once.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/range.hpp"
#include "data/batch.hpp"
#include "data/sampler.hpp"
#include "data/text_choice.hpp"
#include "data/tokenizer.hpp"

namespace viaduct {

// Of one text, in tokens, after truncation. The ranks send these to each other as bytes.
struct TextSize {
  uint16_t tokens = 0;    // <s> and </s> included
  uint16_t maskable = 0;  // those that are not special
  bool operator==(const TextSize&) const = default;
};
// Of every text of these samples, in order.
std::vector<TextSize> text_sizes(const Dataset&, const Tokenizer&, int64_t max_length, Range samples, int threads = 1);

struct TextOptions {
  TokenizerPtr tokenizer;                              // null: batches carry no text
  int64_t max_length = 0;                              // longer texts are cut, <s> and </s> included
  int64_t round_to = 8;                                // the padded length is a multiple, unless max_length is reached
  bool fixed = false;                                  // always max_length
  bool pairs = false;                                  // image-text matching: Batch::pair and pair_labels
  bool masked = false;                                 // masked language modelling: Batch::masked_ids and masked_labels
  std::shared_ptr<const std::vector<TextSize>> sizes;  // of all samples, in order; training needs it
};

int64_t text_bytes(const TextOptions&, int64_t batch_size);  // of a batch, at most

// The tokens of one sample.
struct SampleText {
  std::vector<int32_t> text, pair, masked_ids, masked_labels;
  int32_t matches = 0;
};

// Immutable; every method may be called from several threads.
class TextBatcher {
 public:
  TextBatcher(DatasetPtr, TextOptions, bool training, bool first_only);

  struct Step {
    int64_t length = 0;  // T of all its batches
    int64_t masked = 0;  // tokens to guess, as planned: a substitute's text may have more or fewer
  };
  Step step(const BatchPlan&, const Sampler&, uint64_t seed, int64_t step) const;
  // Whether the texts that go with the sample are within the length.
  bool fits(int64_t sample, uint64_t key, int64_t length) const;

  // Cut to `length`; 0: to max_length.
  SampleText tokens(int64_t sample, uint64_t key, int64_t length) const;
  // Fills the batch's tensors from these rows, into its storage from `offset`. Length 0: the longest of these.
  void collate(const std::vector<const SampleText*>&, int64_t length, int64_t batch_size, int64_t offset, Batch&) const;

 private:
  TextSize size(TextChoice::Text) const;
  int64_t longest(int64_t sample, uint64_t key) const;
  int64_t padded(int64_t length) const;

  DatasetPtr data_;
  TextOptions options_;
  TextChoice choice_;
  std::vector<int64_t> first_;  // of every sample, its first text's place in options_.sizes
};

}  // namespace viaduct
