#include "core/device/arena.hpp"

#include "core/base/range.hpp"

namespace viaduct {

Arena::Arena(Device device, int64_t bytes) : buffer_(device, device.is_meta() ? 0 : bytes) {}

Tensor Arena::keep(Shape shape, DType dtype) { return make(shape, dtype, kept_, kept_pieces_, false); }
Tensor Arena::temp(Shape shape, DType dtype) {
  expect(!open_scopes_.empty(), "temporaries are made inside a scope");
  return make(shape, dtype, temp_, temp_pieces_, true);
}

Tensor Arena::make(Shape shape, DType dtype, int64_t& used, std::vector<Piece>& pieces, bool from_top) {
  Tensor t{nullptr, shape, dtype, device()};
  int64_t bytes = align_up(t.bytes(), kAlignment), before = used;
  used += bytes;
  bool planning = device().is_meta();
  if (!planning && kept_ + temp_ > capacity())
    fail(Exit::crash,
         fmt::format("the arena of {} bytes is full: {} more were asked for {} in scope '{}'; the step that runs "
                     "is not the step that was planned",
                     capacity(), bytes, to_string(t), innermost_scope()));
  std::string scope = planning ? innermost_scope() : "";
  if (planning) live_[scope] += bytes;
  pieces.push_back({used, bytes, std::move(scope)});
  if (kept_ + temp_ > peak_.bytes) {
    peak_.bytes = kept_ + temp_, peak_.kept = kept_, peak_.temp = temp_;
    if (planning) peak_.by_scope = live_;
  }
  if (!planning) t.data = static_cast<std::byte*>(buffer_.data()) + (from_top ? capacity() - used : before);
  return t;
}

void Arena::drop(int64_t down_to, int64_t& used, std::vector<Piece>& pieces) {
  while (!pieces.empty() && pieces.back().offset_after > down_to) {
    if (device().is_meta()) live_[pieces.back().scope] -= pieces.back().bytes;
    pieces.pop_back();
  }
  used = down_to;
}

Arena::Scope Arena::scope(const char* name) {
  open_scopes_.emplace_back(name);
  return Scope(*this, temp_);
}

void Arena::close_scope(int64_t top) {
  open_scopes_.pop_back();
  drop(top, temp_, temp_pieces_);
}

void Arena::release(Mark mark) {
  expect(mark.kept <= kept_, "kept tensors are released last-in first-out");
  drop(mark.kept, kept_, kept_pieces_);
}

}  // namespace viaduct
