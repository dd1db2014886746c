#include "data/text_choice.hpp"

#include <algorithm>
#include <unordered_map>

#include "core/base/check.hpp"
#include "core/base/philox.hpp"

namespace viaduct {
namespace {

constexpr int kAttempts = 32;

std::vector<int32_t> number_images(const Dataset& data) {
  std::unordered_map<std::string, int32_t> numbers;
  std::vector<int32_t> images;
  images.reserve(size_t(data.size()));
  for (int64_t i = 0; i < data.size(); ++i)
    images.push_back(numbers.emplace(data.image(i), int32_t(numbers.size())).first->second);
  if (numbers.size() < 2)
    fail_input("image-text matching draws mismatched texts from other images, but the data has only one image");
  return images;
}

}  // namespace

TextChoice::TextChoice(DatasetPtr data, bool first_only, bool pairs) : data_(std::move(data)), first_only_(first_only) {
  if (pairs && !data_->has_labels()) images_ = number_images(*data_);
}

TextChoice::Text TextChoice::own(int64_t sample, uint64_t key) const {
  const uint64_t n = data_->texts(sample).size();
  if (first_only_ || n == 1) return {sample, 0};
  return {sample, int64_t(RandomSequence(key, Draw::caption).below(n))};
}

TextChoice::Judged TextChoice::judged(int64_t sample, uint64_t key) const {
  if (data_->has_labels()) return {own(sample, key), data_->label(sample)};
  RandomSequence draws(key, Draw::mismatch);
  if (draws.uniform() < 0.5) return {own(sample, key), 1};

  const auto& own_texts = data_->texts(sample);
  const int64_t size = data_->size();
  auto is_another = [&](int64_t other) { return images_[size_t(other)] != images_[size_t(sample)]; };
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    Text text{int64_t(draws.below(uint64_t(size))), 0};
    if (!is_another(text.sample)) continue;
    if (!first_only_) text.index = int64_t(draws.below(data_->texts(text.sample).size()));
    if (std::find(own_texts.begin(), own_texts.end(), words(text)) == own_texts.end()) return {text, 0};
  }
  // Nearly all rows are of this image, or say the same: the next one of another image.
  for (int64_t step = 1; step < size; ++step)
    if (const int64_t other = (sample + step) % size; is_another(other)) return {{other, 0}, 0};
  fail(Exit::crash, "no sample of another image was found");
}

}  // namespace viaduct
