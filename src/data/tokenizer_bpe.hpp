// Byte pair encoding of one word.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace viaduct {

// Rank = place in the list: the lowest goes first.
struct BpeMerge {
  int32_t left, right, result;
};

class Bpe {
 public:
  // token_bytes[id]: what the token spells, empty if it spells no bytes. byte_tokens[b]: -1 for a byte without a token,
  // which then becomes `unknown` or, if that is -1 too, nothing: as in tokenizers.
  Bpe(const std::vector<std::string>& token_bytes, std::vector<int32_t> byte_tokens, const std::vector<BpeMerge>&,
      int32_t unknown);

  struct Scratch;  // memory that calls of one thread share
  void encode(std::string_view word, std::vector<int32_t>& ids, Scratch&) const;  // adds to ids

 private:
  struct Rule {
    uint64_t pair = kNoPair;
    uint32_t rank = 0;
    int32_t result = 0;
  };
  static constexpr uint64_t kNoPair = ~uint64_t{0};
  const Rule* rule(int32_t left, int32_t right) const;
  size_t slot(uint64_t pair) const { return size_t((pair * 0x9E3779B97F4A7C15u) >> shift_); }
  void add_rule(const BpeMerge&, uint32_t rank);
  void merge(std::string_view word, std::vector<int32_t>& ids, Scratch&) const;
  void offer(Scratch&, int32_t left) const;

  std::vector<int32_t> byte_tokens_;
  int32_t unknown_;
  std::vector<Rule> rules_;  // open addressing, a power of two, at most half full
  int shift_ = 0;
  // Words that merge into a single token, found once by merging every token: most words of a text are among them. It
  // replaces a cache, which threads would have to share.
  std::unordered_map<std::string, int32_t> whole_;
  size_t longest_whole_ = 0;
};

struct Bpe::Scratch {
  struct Symbol {
    int32_t id, previous, next;  // places of the neighbours, -1 at the ends
    bool gone;                   // merged into the one before
  };
  struct Candidate {
    uint32_t rank;
    int32_t place;  // of the left symbol
    int32_t result;
    bool operator<(const Candidate& o) const {  // the heap's top is the lowest rank, of equal ones the leftmost
      return rank != o.rank ? rank > o.rank : place > o.place;
    }
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  std::string key;
};

}  // namespace viaduct
