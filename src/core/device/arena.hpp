// Activation memory: one region with two ends and two lifetimes (rule R2).
//   keep: until the matching backward releases its mark; grows from the bottom.
//   temp: until the enclosing Scope ends; grows from the top.
// Release is last-in first-out: of kept tensors it is checked, and a Scope lives and dies with a C++ scope. An arena over
// Device::meta has no memory and measures: the same step run on it gives the exact peak, and an arena of that size then
// executes the step. Only the compute stream touches an arena (R3).
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/device/buffer.hpp"

namespace viaduct {

struct ArenaPeak {
  int64_t bytes = 0, kept = 0, temp = 0;    // at the high-water mark
  std::map<std::string, int64_t> by_scope;  // shares of it by the innermost open scope; filled on meta only
};

class Arena {
 public:
  struct Mark {
    int64_t kept = 0;
  };
  // Ends the lifetime of the temporaries made since it began.
  class Scope {
   public:
    Scope(const Scope&) = delete;  // nor moved, so that scopes close in the order of C++ scopes
    ~Scope() { arena_.close_scope(top_); }

   private:
    friend class Arena;
    Scope(Arena& arena, int64_t top) : arena_(arena), top_(top) {}
    Arena& arena_;
    int64_t top_;
  };

  static constexpr int64_t kAlignment = 64;

  explicit Arena(Device device, int64_t bytes = 0);  // `bytes` is ignored on meta: it grows without bound

  Tensor keep(Shape, DType);
  Tensor temp(Shape, DType);
  [[nodiscard]] Scope scope(const char* name);
  Mark mark() const { return {kept_}; }
  void release(Mark);
  bool empty() const { return kept_ == 0 && temp_ == 0; }

  const ArenaPeak& peak() const { return peak_; }
  Device device() const { return buffer_.device(); }
  int64_t capacity() const { return buffer_.bytes(); }

 private:
  struct Piece {
    int64_t offset_after = 0;  // kept_ or temp_ once it was made
    int64_t bytes = 0;
    std::string scope;  // the innermost scope open then; tracked on meta only
  };
  void close_scope(int64_t top);
  std::string innermost_scope() const { return open_scopes_.empty() ? "step" : open_scopes_.back(); }
  Tensor make(Shape, DType, int64_t& used, std::vector<Piece>& pieces, bool from_top);
  void drop(int64_t down_to, int64_t& used, std::vector<Piece>& pieces);

  Buffer buffer_;
  int64_t kept_ = 0, temp_ = 0;  // bytes in use from the bottom and from the top
  std::vector<std::string> open_scopes_;
  std::vector<Piece> kept_pieces_, temp_pieces_;
  std::map<std::string, int64_t> live_;
  ArenaPeak peak_;
};

}  // namespace viaduct
