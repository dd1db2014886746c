#include "data/text_batch.hpp"

#include <algorithm>
#include <future>
#include <limits>

#include "core/base/check.hpp"
#include "core/ops/loss.hpp"
#include "data/masking.hpp"

namespace viaduct {
namespace {

constexpr int64_t kLongest = std::numeric_limits<uint16_t>::max();
constexpr int64_t kShortest = 2;  // <s> </s>

int64_t tensor_bytes(const TextOptions& o, int64_t batch_size) {
  return align_up(batch_size * o.max_length * int64_t(sizeof(int32_t)), 64);
}

// The rows one below the other, each filled up.
Tensor padded_rows(const std::vector<const SampleText*>& rows, std::vector<int32_t> SampleText::*tokens,
                   int32_t padding, int64_t length, int64_t offset, const Buffer& storage) {
  Tensor out = storage.view(offset, {int64_t(rows.size()), length}, DType::i32);
  int32_t* to = data<int32_t>(out);
  for (const SampleText* row : rows) {
    const auto& from = row->*tokens;
    std::fill(std::copy(from.begin(), from.end(), to), to + length, padding);
    to += length;
  }
  return out;
}

Tensor mask_of(const std::vector<const SampleText*>& rows, std::vector<int32_t> SampleText::*tokens, int64_t length,
               int64_t offset, const Buffer& storage) {
  Tensor out = storage.view(offset, {int64_t(rows.size()), length}, DType::i32);
  int32_t* to = data<int32_t>(out);
  for (const SampleText* row : rows) {
    const int64_t n = int64_t((row->*tokens).size());
    std::fill(std::fill_n(to, n, 1), to + length, 0);
    to += length;
  }
  return out;
}

}  // namespace

std::vector<TextSize> text_sizes(const Dataset& data, const Tokenizer& tokenizer, int64_t max_length, Range samples,
                                 int threads) {
  expect(max_length >= kShortest && max_length <= kLongest, "the longest text is out of range");
  auto of = [&](Range part) {
    std::vector<TextSize> sizes;
    for (int64_t i = part.begin; i < part.end; ++i)
      for (const std::string& text : data.texts(i)) {
        const auto ids = tokenizer.encode(text, max_length);
        sizes.push_back({uint16_t(ids.size()), uint16_t(maskable_tokens(ids, tokenizer))});
      }
    return sizes;
  };
  std::vector<std::future<std::vector<TextSize>>> parts;
  for (int t = 0; t < std::max(threads, 1); ++t) {
    Range part = split_evenly(samples.size(), t, std::max(threads, 1));
    parts.push_back(std::async(std::launch::async, of, Range{samples.begin + part.begin, samples.begin + part.end}));
  }
  std::vector<TextSize> all;
  for (auto& part : parts) {
    const auto sizes = part.get();
    all.insert(all.end(), sizes.begin(), sizes.end());
  }
  return all;
}

int64_t text_bytes(const TextOptions& o, int64_t batch_size) {
  if (!o.tokenizer) return 0;
  const int64_t tensors = 2 + (o.pairs ? 2 : 0) + (o.masked ? 2 : 0);
  return tensors * tensor_bytes(o, batch_size) + (o.pairs ? align_up(4 * batch_size, 64) : 0);
}

TextBatcher::TextBatcher(DatasetPtr d, TextOptions options, bool training, bool first_only)
    : data_(std::move(d)), options_(std::move(options)), choice_(data_, first_only, options_.pairs) {
  expect(data_->has_text(), "texts are wanted of data that has none");
  expect(options_.max_length >= kShortest && options_.max_length <= kLongest, "the longest text is out of range");
  expect(options_.round_to > 0, "the padded length is a multiple of nothing");
  if (!training) return;
  expect(bool(options_.sizes), "training needs the lengths of all texts");
  int64_t texts = 0;
  for (int64_t i = 0; i < data_->size(); ++i) first_.push_back(texts), texts += int64_t(data_->texts(i).size());
  expect(texts == int64_t(options_.sizes->size()), "the table of lengths is not that of the texts");
}

TextSize TextBatcher::size(TextChoice::Text text) const {
  return (*options_.sizes)[size_t(first_[size_t(text.sample)] + text.index)];
}

int64_t TextBatcher::longest(int64_t sample, uint64_t key) const {
  int64_t length = size(choice_.own(sample, key)).tokens;
  if (options_.pairs) length = std::max<int64_t>(length, size(choice_.judged(sample, key).text).tokens);
  return length;
}

int64_t TextBatcher::padded(int64_t length) const {
  return options_.fixed ? options_.max_length : std::min(align_up(length, options_.round_to), options_.max_length);
}

TextBatcher::Step TextBatcher::step(const BatchPlan& plan, const Sampler& sampler, uint64_t seed, int64_t step) const {
  const uint64_t epoch = uint64_t(plan.epoch_of(step));
  const Range positions = plan.global_batch_of(step);
  int64_t length = kShortest, masked = 0;
  for (int64_t p = positions.begin; p < positions.end; ++p) {
    const int64_t sample = sampler.at(epoch, p);
    const uint64_t key = sample_key(seed, epoch, uint64_t(sample));
    if (!options_.fixed) length = std::max(length, longest(sample, key));
    if (options_.masked) masked += masked_tokens(size(choice_.own(sample, key)).maskable, key);
  }
  return {padded(length), masked};
}

bool TextBatcher::fits(int64_t sample, uint64_t key, int64_t length) const { return longest(sample, key) <= length; }

SampleText TextBatcher::tokens(int64_t sample, uint64_t key, int64_t length) const {
  const int64_t limit = length ? length : options_.max_length;
  const TextChoice::Text own = choice_.own(sample, key);
  SampleText row;
  row.text = options_.tokenizer->encode(choice_.words(own), limit);
  if (options_.pairs) {
    const TextChoice::Judged judged = choice_.judged(sample, key);
    row.matches = judged.matches;
    row.pair = judged.text == own ? row.text : options_.tokenizer->encode(choice_.words(judged.text), limit);
  }
  if (options_.masked) {
    MaskedText masked = mask_tokens(row.text, *options_.tokenizer, key);
    row.masked_ids = std::move(masked.ids), row.masked_labels = std::move(masked.labels);
  }
  return row;
}

void TextBatcher::collate(const std::vector<const SampleText*>& rows, int64_t length, int64_t batch_size,
                          int64_t offset, Batch& batch) const {
  if (!length) {
    length = kShortest;
    for (const SampleText* row : rows) length = std::max(length, int64_t(std::max(row->text.size(), row->pair.size())));
    length = padded(length);
  }
  const int64_t stride = tensor_bytes(options_, batch_size);
  auto place = [&] { return std::exchange(offset, offset + stride); };
  auto fill = [&](std::vector<int32_t> SampleText::*tokens, int32_t padding) {
    return padded_rows(rows, tokens, padding, length, place(), *batch.storage);
  };
  auto mask = [&](std::vector<int32_t> SampleText::*tokens) {
    return mask_of(rows, tokens, length, place(), *batch.storage);
  };
  const int32_t pad = options_.tokenizer->pad();
  batch.text = {fill(&SampleText::text, pad), mask(&SampleText::text)};
  if (options_.masked) {
    batch.masked_ids = fill(&SampleText::masked_ids, pad);
    batch.masked_labels = fill(&SampleText::masked_labels, ops::kIgnoredLabel);
  }
  if (!options_.pairs) return;
  batch.pair = {fill(&SampleText::pair, pad), mask(&SampleText::pair)};
  batch.pair_labels = batch.storage->view(offset, {int64_t(rows.size())}, DType::i32);
  for (size_t i = 0; i < rows.size(); ++i) data<int32_t>(batch.pair_labels)[i] = rows[i]->matches;
}

}  // namespace viaduct
