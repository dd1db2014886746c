#include "data/word_vocabulary.hpp"

#include <nlohmann/json.hpp>
#include <set>

#include "core/base/check.hpp"
#include "data/tokenizer_files.hpp"
#include "data/tokenizer_text.hpp"

namespace viaduct {
namespace {

using Pair = std::pair<std::string, std::string>;

class Merges {
 public:
  // Until the merges so far leave a single piece, its first two pieces become one more. It ranks last, so words that
  // came before stay whole: their own merges are always found first.
  void make_whole(std::string_view word) {
    std::vector<std::string> pieces;
    for (char c : word) pieces.push_back(byte_symbols()[uint8_t(c)]);
    for (apply(pieces); pieces.size() > 1; apply(pieces)) {
      list_.push_back({pieces[0], pieces[1]});
      ranks_.emplace(list_.back(), list_.size());
    }
  }
  const std::vector<Pair>& list() const { return list_; }

 private:
  // BPE, plainly: the pair of the lowest rank, the leftmost of equal ones, until there is none.
  void apply(std::vector<std::string>& pieces) const {
    for (;;) {
      size_t best = SIZE_MAX, at = 0;
      for (size_t i = 0; i + 1 < pieces.size(); ++i) {
        auto found = ranks_.find({pieces[i], pieces[i + 1]});
        if (found != ranks_.end() && found->second < best) best = found->second, at = i;
      }
      if (best == SIZE_MAX) return;
      pieces[at] += pieces[at + 1];
      pieces.erase(pieces.begin() + int64_t(at) + 1);
    }
  }
  std::vector<Pair> list_;
  std::map<Pair, size_t> ranks_;
};

}  // namespace

std::map<std::string, std::string> word_vocabulary(const std::vector<std::string>& words) {
  Merges merges;
  for (const std::string& word : std::set<std::string>(words.begin(), words.end())) {
    std::string repaired, blank_word = " " + word;
    bool one_word = !word.empty() && valid_utf8(word, repaired).data() == word.data() &&
                    WordCutter().next(word, 0) == word && WordCutter().next(blank_word, 0) == blank_word;
    if (!one_word)
      fail_input(fmt::format("a vocabulary of words: {} is not what a tokenizer takes for one word", shown(word)));
    merges.make_whole(blank_word);
    merges.make_whole(word);
  }
  nlohmann::ordered_json vocabulary;
  auto add = [&](const std::string& token) { vocabulary.emplace(token, int64_t(vocabulary.size())); };
  for (const char* special : {"<s>", "<pad>", "</s>", "<unk>"}) add(special);
  for (const std::string& symbol : byte_symbols()) add(symbol);
  std::string lines = "#version: 0.2\n";
  for (const auto& [left, right] : merges.list()) {
    add(left + right);
    lines += left + " " + right + "\n";
  }
  add("<mask>");
  return {{"vocab.json", vocabulary.dump() + "\n"},
          {"merges.txt", lines},
          {"tokenizer_config.json", default_tokenizer_config()}};
}

}  // namespace viaduct
