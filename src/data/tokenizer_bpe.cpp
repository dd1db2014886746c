#include "data/tokenizer_bpe.hpp"

#include <algorithm>
#include <bit>

#include "core/base/check.hpp"

namespace viaduct {
namespace {

uint64_t pair_key(int32_t left, int32_t right) { return uint64_t(uint32_t(left)) << 32 | uint32_t(right); }

}  // namespace

Bpe::Bpe(const std::vector<std::string>& token_bytes, std::vector<int32_t> byte_tokens,
         const std::vector<BpeMerge>& merges, int32_t unknown)
    : byte_tokens_(std::move(byte_tokens)), unknown_(unknown) {
  expect(byte_tokens_.size() == 256, "every byte has its place");
  size_t capacity = std::bit_ceil(2 * merges.size() + 2);
  shift_ = 64 - std::countr_zero(capacity);
  rules_.resize(capacity);
  for (size_t rank = 0; rank < merges.size(); ++rank) add_rule(merges[rank], uint32_t(rank));

  Scratch scratch;
  std::vector<int32_t> ids;
  for (size_t id = 0; id < token_bytes.size(); ++id) {
    if (token_bytes[id].empty()) continue;
    ids.clear();
    merge(token_bytes[id], ids, scratch);
    if (ids.size() != 1 || ids[0] != int32_t(id)) continue;
    whole_.emplace(token_bytes[id], int32_t(id));
    longest_whole_ = std::max(longest_whole_, token_bytes[id].size());
  }
}

void Bpe::add_rule(const BpeMerge& m, uint32_t rank) {
  uint64_t pair = pair_key(m.left, m.right);
  size_t at = slot(pair);
  while (rules_[at].pair != kNoPair && rules_[at].pair != pair) at = (at + 1) & (rules_.size() - 1);
  rules_[at] = {pair, rank, m.result};  // of two equal lines the later counts, as in tokenizers
}

const Bpe::Rule* Bpe::rule(int32_t left, int32_t right) const {
  uint64_t pair = pair_key(left, right);
  for (size_t at = slot(pair);; at = (at + 1) & (rules_.size() - 1)) {
    if (rules_[at].pair == pair) return &rules_[at];
    if (rules_[at].pair == kNoPair) return nullptr;
  }
}

void Bpe::encode(std::string_view word, std::vector<int32_t>& ids, Scratch& scratch) const {
  if (word.size() <= longest_whole_) {
    scratch.key.assign(word);
    if (auto found = whole_.find(scratch.key); found != whole_.end()) {
      ids.push_back(found->second);
      return;
    }
  }
  merge(word, ids, scratch);
}

void Bpe::offer(Scratch& s, int32_t left) const {
  if (left < 0 || s.symbols[size_t(left)].next < 0) return;
  const auto& symbol = s.symbols[size_t(left)];
  const Rule* r = rule(symbol.id, s.symbols[size_t(symbol.next)].id);
  if (!r) return;
  s.heap.push_back({r->rank, left, r->result});
  std::push_heap(s.heap.begin(), s.heap.end());
}

// A heap of candidates, so that a word of n bytes takes O(n log n): a text without blanks is one word.
void Bpe::merge(std::string_view word, std::vector<int32_t>& ids, Scratch& s) const {
  if (word.size() > size_t(INT32_MAX)) fail_input("a text holds a word of more than 2 GB; cut it before");
  s.symbols.clear();
  s.heap.clear();
  for (char c : word) {
    int32_t id = byte_tokens_[uint8_t(c)];
    if (id < 0) id = unknown_;
    if (id < 0) continue;
    int32_t place = int32_t(s.symbols.size());
    s.symbols.push_back({id, place - 1, place + 1, false});
  }
  if (s.symbols.empty()) return;
  s.symbols.back().next = -1;
  for (size_t i = 0; i + 1 < s.symbols.size(); ++i)
    if (const Rule* r = rule(s.symbols[i].id, s.symbols[i + 1].id)) s.heap.push_back({r->rank, int32_t(i), r->result});
  std::make_heap(s.heap.begin(), s.heap.end());

  while (!s.heap.empty()) {
    std::pop_heap(s.heap.begin(), s.heap.end());
    Scratch::Candidate c = s.heap.back();
    s.heap.pop_back();
    auto& left = s.symbols[size_t(c.place)];
    if (left.gone || left.next < 0) continue;
    auto& right = s.symbols[size_t(left.next)];
    const Rule* r = rule(left.id, right.id);
    if (!r || r->result != c.result) continue;  // one of the two has been merged since
    right.gone = true;
    left.id = c.result;
    left.next = right.next;
    if (left.next >= 0) s.symbols[size_t(left.next)].previous = c.place;
    offer(s, left.previous);
    offer(s, c.place);
  }
  for (int32_t i = 0; i >= 0; i = s.symbols[size_t(i)].next) ids.push_back(s.symbols[size_t(i)].id);
}

}  // namespace viaduct
