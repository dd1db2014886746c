// Memory that will be needed soon, asked for a little at a time among other work: the hardware does not foresee rows that
// lie far apart.
#pragma once
#include <cstdint>

namespace viaduct::ops::cpu {

class Upcoming {
 public:
  // Rows of `length` elements that will be read or written, in the order of their use; at most kMost times.
  template <class T>
  void add(const T* first, int64_t stride, int64_t rows, int64_t length, bool write) {
    if (rows <= 0 || length <= 0) return;
    const int64_t bytes = (length * int64_t(sizeof(T)) + kLine - 1) / kLine * kLine;
    blocks_[count_++] = {reinterpret_cast<const char*>(first), stride * int64_t(sizeof(T)), rows, bytes, write};
    lines_ += rows * bytes / kLine;
  }
  // Begins; everything has been asked for after so many steps.
  void spread(int64_t steps) {
    pace_ = lines_ / (steps > 0 ? steps : 1) + 1;
    begin_row();
  }
  void step() {
    for (int64_t i = 0; i < pace_ && at_; ++i) {
      if (write_)
        __builtin_prefetch(at_, 1, 2);
      else
        __builtin_prefetch(at_, 0, 2);
      if ((at_ += kLine) == end_) begin_row();
    }
  }

 private:
  static constexpr int64_t kLine = 64;
  static constexpr int kMost = 8;
  struct Block {
    const char* row;
    int64_t stride, rows, bytes;
    bool write;
  };
  [[gnu::always_inline]] inline void begin_row() {  // no call: the sums of a tile are in registers
    if (now_ < count_ && blocks_[now_].rows == 0) ++now_;
    if (now_ == count_) return void(at_ = nullptr);
    Block& b = blocks_[now_];
    at_ = b.row, end_ = b.row + b.bytes, write_ = b.write;
    b.row += b.stride, --b.rows;
  }
  const char *at_ = nullptr, *end_ = nullptr;
  int64_t pace_ = 0, lines_ = 0;
  bool write_ = false;
  int count_ = 0, now_ = 0;
  Block blocks_[kMost];
};

}  // namespace viaduct::ops::cpu
