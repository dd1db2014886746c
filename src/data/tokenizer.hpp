// RoBERTa's byte-level BPE (Radford et al. 2019; Liu et al. 2019): text to token ids, the same as transformers gives.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace viaduct {

// Immutable once loaded; every method may be called from several threads.
class Tokenizer {
 public:
  // A folder with vocab.json and merges.txt, or with tokenizer.json. What is wrong with them is an input error that
  // names the file and the line.
  static std::shared_ptr<const Tokenizer> load(const std::string& folder);
  static bool is_in(const std::string& folder);  // whether such files are there

  // <s> text </s>. With max_length > 0 at most so many ids: the text is cut, the two special tokens stay.
  // Bytes that are not UTF-8 are read as U+FFFD, one for each maximal invalid part, as Python's errors="replace".
  std::vector<int32_t> encode(std::string_view text, int64_t max_length = 0) const;
  std::string decode(const std::vector<int32_t>& ids) const;  // special tokens left out; for people

  int32_t bos() const, pad() const, eos() const, unk() const, mask() const;
  int64_t vocab_size() const;  // ids lie below it
  // What a model folder holds, so that transformers loads the same tokenizer: file name -> text.
  const std::map<std::string, std::string>& files() const;

 private:
  struct State;
  explicit Tokenizer(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};
using TokenizerPtr = std::shared_ptr<const Tokenizer>;

}  // namespace viaduct
