// A tokenizer and captioned pictures for tests.
#pragma once
#include <vector>

#include "data/dataset.hpp"
#include "data/text_batch.hpp"
#include "tests/data/image_tools.hpp"

namespace viaduct::test {

inline TokenizerPtr tiny_tokenizer() {
  static const TokenizerPtr tokenizer = Tokenizer::load(source_path("tests/golden/tokenizer/tiny"));
  return tokenizer;
}

// Row i has the texts "<i> a ...": its number, the number of the text in letters, and words up to any length.
inline std::string numbered_text(int row, int text, int words) {
  std::string all = std::to_string(row) + " " + char('a' + text);
  for (int w = 0; w < words; ++w) all += " cat";
  return all;
}

// folder/captions.jsonl with `rows` rows about rows / rows_per_image pictures; broken ones are no images.
inline DatasetPtr write_captions(const std::filesystem::path& folder, int rows, int rows_per_image = 1,
                                 const std::vector<int>& broken = {}) {
  std::string lines;
  for (int i = 0; i < rows; ++i) {
    const int picture = i / rows_per_image;
    std::string texts;
    for (int t = 0; t < 1 + i % 4; ++t)
      texts += fmt::format("{}\"{}\"", t ? ", " : "", numbered_text(i, t, i % 8 ? (7 * i + 3 * t) % 6 : 9 + i));
    lines += fmt::format(R"({{"image": "{:03}.jpg", "captions": [{}]}})", picture, texts) + "\n";
    write_file(folder / fmt::format("{:03}.jpg", picture), encode_jpeg(test_image(20, 24, uint64_t(picture)), 90));
  }
  for (int picture : broken) write_bytes(folder / fmt::format("{:03}.jpg", picture), "not an image");
  write_bytes(folder / "captions.jsonl", lines);
  return open_texts(folder.string(), Split::train);
}

inline TextOptions text_options(const Dataset& data, int64_t max_length = 40) {
  TextOptions options{.tokenizer = tiny_tokenizer(), .max_length = max_length};
  options.sizes =
      std::make_shared<std::vector<TextSize>>(text_sizes(data, *options.tokenizer, max_length, {0, data.size()}));
  return options;
}

}  // namespace viaduct::test
