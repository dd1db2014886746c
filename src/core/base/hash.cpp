#include "core/base/hash.hpp"

#include <xxhash.h>

#include "core/base/check.hpp"

namespace viaduct {

Hasher::Hasher() : state_(XXH3_createState()) {
  expect(state_ && XXH3_64bits_reset(state_) == XXH_OK, "a hash state can be made");
}
Hasher::~Hasher() { XXH3_freeState(state_); }
void Hasher::add(const void* data, int64_t bytes) { XXH3_64bits_update(state_, data, size_t(bytes)); }
std::string Hasher::hex() const { return fmt::format("{:016x}", XXH3_64bits_digest(state_)); }

std::string xxh3_hex(std::string_view text) { return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size())); }

}  // namespace viaduct
