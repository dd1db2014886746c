#include "core/tensor/tensor.hpp"

namespace viaduct {

std::string to_string(const Shape& s) {
  std::string text = "[";
  for (int i = 0; i < s.rank; ++i) text += (i ? ", " : "") + std::to_string(s.dim[i]);
  return text + "]";
}

std::string to_string(const Tensor& t) {
  constexpr const char* kinds[] = {"cpu", "cuda", "meta"};
  return fmt::format("{} {} on {}", name_of(t.dtype), to_string(t.shape), kinds[int(t.device.kind)]);
}

Tensor Tensor::reshape(Shape s) const {
  expect(s.numel() == numel(), "reshape keeps the number of elements");
  Tensor t = *this;
  t.shape = s;
  return t;
}

Tensor Tensor::slice(int64_t begin, int64_t end) const {
  expect(shape.rank > 0 && begin >= 0 && begin <= end && end <= shape[0], "slice lies inside dimension 0");
  Tensor t = *this;
  int64_t row = shape[0] ? bytes() / shape[0] : 0;
  if (data) t.data = static_cast<std::byte*>(data) + begin * row;
  t.shape.dim[0] = end - begin;
  return t;
}

}  // namespace viaduct
