// A sum of losses in fixed point, units of 2^-64: exact for doubles up to 2^50, and so the same in any order.
#pragma once
#include <cmath>

namespace viaduct {

class LossSum {
 public:
  static constexpr int kFraction = 64;  // bits behind the point
  using Units = __int128;

  LossSum(double loss = 0) : finite_(std::abs(loss) < 0x1p50) {  // false for NaN
    if (finite_) units_ = Units(std::ldexp(loss, kFraction));
  }
  static LossSum of(Units units) {
    LossSum sum;
    sum.units_ = units;
    return sum;
  }
  LossSum& operator+=(const LossSum& o) {
    units_ += o.units_, finite_ = finite_ && o.finite_;
    return *this;
  }
  operator double() const { return std::ldexp(double(units_), -kFraction); }  // of what was finite
  bool finite() const { return finite_; }
  Units units() const { return units_; }

 private:
  Units units_ = 0;
  bool finite_ = true;
};

}  // namespace viaduct
