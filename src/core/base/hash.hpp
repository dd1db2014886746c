// XXH3, 64 bits, as 16 hexadecimal digits: finds damage, does not protect against forgery.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

struct XXH3_state_s;

namespace viaduct {

class Hasher {
 public:
  Hasher();
  Hasher(Hasher&&) = delete;
  ~Hasher();
  void add(const void* data, int64_t bytes);
  std::string hex() const;

 private:
  XXH3_state_s* state_;
};

std::string xxh3_hex(std::string_view);

}  // namespace viaduct
