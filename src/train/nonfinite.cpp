#include "train/nonfinite.hpp"

#include "core/base/check.hpp"

namespace viaduct {

std::string Nonfinite::text() const {
  constexpr size_t kListed = 8;
  std::string text = tensor.empty() ? "" : "; first in " + tensor;
  const size_t listed = std::min(samples.size(), kListed);
  if (listed > 0)
    text += fmt::format("; {}: {}", samples.size() == 1 ? "sample" : "samples",
                        fmt::join(samples.begin(), samples.begin() + int64_t(listed), ", "));
  if (listed < samples.size()) text += fmt::format(" and {} more", samples.size() - listed);
  return text;
}

}  // namespace viaduct
