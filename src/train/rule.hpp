// Which values a field of the configuration takes.
#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace viaduct {

struct Rule {
  std::vector<std::string> choices;                    // text: one of these; empty = free text
  std::vector<std::pair<std::string, int64_t>> words;  // whole numbers with a name, such as auto
  double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
  bool open_low = false;   // low itself is not allowed
  bool with_high = false;  // high itself is allowed
};
namespace rule {
inline Rule text() { return {}; }
inline Rule choice(std::vector<std::string> choices) { return {.choices = std::move(choices)}; }
// Bounds of what is multiplied, or narrowed to int: far beyond sense, and no product overflows.
constexpr double kSome = 10'000, kMany = 1'000'000'000;
inline Rule at_least(double low) { return {.low = low}; }
inline Rule above(double low, double high = std::numeric_limits<double>::infinity()) {
  return {.low = low, .high = high, .open_low = true};
}
inline Rule between(double low, double high) { return {.low = low, .high = high}; }
inline Rule probability() { return {.low = 0, .high = 1, .with_high = true}; }
inline Rule part_of_one() { return {.low = 0, .high = 1, .open_low = true, .with_high = true}; }
inline Rule at_least_or(double low, std::vector<std::pair<std::string, int64_t>> words,
                        double high = std::numeric_limits<double>::infinity()) {
  return {.words = std::move(words), .low = low, .high = high};
}
}  // namespace rule

}  // namespace viaduct
