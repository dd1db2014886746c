#include "data/tokenizer.hpp"

#include <algorithm>
#include <array>
#include <filesystem>

#include "core/base/check.hpp"
#include "data/tokenizer_bpe.hpp"
#include "data/tokenizer_files.hpp"
#include "data/tokenizer_text.hpp"

namespace viaduct {
namespace {

// Tokens that are looked for in the text as they are, at every place the longest one.
class AddedTokens {
 public:
  AddedTokens() = default;
  AddedTokens(std::vector<AddedToken> tokens, bool normalized) : tokens_(std::move(tokens)) {
    std::erase_if(tokens_, [&](const AddedToken& t) { return t.normalized != normalized; });
    std::sort(tokens_.begin(), tokens_.end(),
              [](const AddedToken& a, const AddedToken& b) { return a.text.size() > b.text.size(); });
    for (const AddedToken& t : tokens_) begins_[uint8_t(t.text[0])] = true;
  }

  // The text in its order as part(text, -1) and part("", id), until a part answers false; whether none did.
  template <class F>
  bool split(std::string_view text, F&& part) const {
    size_t done = 0;
    for (size_t at = 0; at < text.size();) {
      const AddedToken* token = begins_[uint8_t(text[at])] ? longest_at(text.substr(at)) : nullptr;
      if (!token) {
        ++at;
        continue;
      }
      size_t begin = at, end = at + token->text.size();
      if (token->strips_left) begin -= trailing_space(text.substr(done, at - done));
      if (token->strips_right) end += leading_space(text.substr(end));
      if (begin > done && !part(text.substr(done, begin - done), -1)) return false;
      if (!part({}, token->id)) return false;
      done = at = end;
    }
    return done == text.size() || part(text.substr(done), -1);
  }

 private:
  const AddedToken* longest_at(std::string_view text) const {
    for (const AddedToken& t : tokens_)
      if (text.starts_with(t.text)) return &t;
    return nullptr;
  }
  std::vector<AddedToken> tokens_;  // longest first
  std::array<bool, 256> begins_{};
};

std::vector<int32_t> byte_tokens(const std::unordered_map<std::string, int32_t>& vocabulary) {
  std::vector<int32_t> ids;
  for (const std::string& symbol : byte_symbols()) {
    auto found = vocabulary.find(symbol);
    ids.push_back(found == vocabulary.end() ? -1 : found->second);
  }
  return ids;
}

}  // namespace

struct Tokenizer::State {
  explicit State(TokenizerFiles f, const std::string& folder)
      : files(std::move(f.texts)),
        spelling(spell(f)),
        bpe(spelling, byte_tokens(f.vocabulary), f.merges, f.unknown),
        first(f.added, false),
        second(f.added, true),
        special(spelling.size()) {
    auto id = [&](const char* token) {
      auto found = f.vocabulary.find(token);
      if (found == f.vocabulary.end())
        fail_input(
            fmt::format("{}: the tokenizer's vocabulary lacks {}, which a RoBERTa tokenizer needs", folder, token));
      return found->second;
    };
    bos = id("<s>"), pad = id("<pad>"), eos = id("</s>"), unk = id("<unk>"), mask = id("<mask>");
    for (const AddedToken& t : f.added) {
      expect(t.id >= 0 && size_t(t.id) < spelling.size(), "added tokens are in the vocabulary");
      special[size_t(t.id)] = t.special;
      spelling[size_t(t.id)] = t.text;
    }
  }

  static std::vector<std::string> spell(const TokenizerFiles& f) {
    int32_t largest = -1;
    for (const auto& [token, id] : f.vocabulary) largest = std::max(largest, id);
    std::vector<std::string> spelling(size_t(largest) + 1);
    std::string bytes;
    for (const auto& [token, id] : f.vocabulary)
      if (bytes_of_symbols(token, bytes)) spelling[size_t(id)] = bytes;
    return spelling;
  }

  std::map<std::string, std::string> files;
  std::vector<std::string> spelling;  // of ids, in bytes
  Bpe bpe;
  AddedTokens first, second;  // tokenizers looks for the second kind in what the first left
  std::vector<bool> special;
  int32_t bos, pad, eos, unk, mask;
};

bool Tokenizer::is_in(const std::string& folder) {
  std::error_code ignored;
  auto there = [&](const char* name) { return std::filesystem::exists(std::filesystem::path(folder) / name, ignored); };
  return there("tokenizer.json") || (there("vocab.json") && there("merges.txt"));
}

std::shared_ptr<const Tokenizer> Tokenizer::load(const std::string& folder) {
  auto state = std::make_shared<const State>(read_tokenizer_files(folder), folder);
  return std::shared_ptr<const Tokenizer>(new Tokenizer(std::move(state)));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, int64_t max_length) const {
  if (max_length != 0 && max_length < 2)
    fail_config(fmt::format("expected a text length of at least 2, for <s> and </s>; found {}", max_length));
  const State& s = *state_;
  size_t room = max_length ? size_t(max_length) - 1 : SIZE_MAX;  // of ids before </s>
  std::string repaired;
  std::vector<int32_t> ids{s.bos};
  WordCutter cutter;
  Bpe::Scratch scratch;
  auto add_words = [&](std::string_view part, int32_t id) {
    if (id >= 0) ids.push_back(id);
    for (size_t at = 0; at < part.size() && ids.size() < room;) {
      std::string_view word = cutter.next(part, at);
      s.bpe.encode(word, ids, scratch);
      at += word.size();
    }
    return ids.size() < room;
  };
  s.first.split(valid_utf8(text, repaired), [&](std::string_view part, int32_t id) {
    return id >= 0 ? add_words({}, id) : s.second.split(part, add_words);
  });
  if (ids.size() > room) ids.resize(room);
  ids.push_back(s.eos);
  return ids;
}

std::string Tokenizer::decode(const std::vector<int32_t>& ids) const {
  std::string bytes, repaired;
  for (int32_t id : ids)
    if (id >= 0 && id < vocab_size() && !state_->special[size_t(id)]) bytes += state_->spelling[size_t(id)];
  return std::string(valid_utf8(bytes, repaired));
}

int32_t Tokenizer::bos() const { return state_->bos; }
int32_t Tokenizer::pad() const { return state_->pad; }
int32_t Tokenizer::eos() const { return state_->eos; }
int32_t Tokenizer::unk() const { return state_->unk; }
int32_t Tokenizer::mask() const { return state_->mask; }
int64_t Tokenizer::vocab_size() const { return int64_t(state_->spelling.size()); }
const std::map<std::string, std::string>& Tokenizer::files() const { return state_->files; }

}  // namespace viaduct
