// Runs before every static initialiser, so that a CPU without the instructions that the compiler was allowed to use
// gets a sentence and not an illegal instruction. Nothing here may be worth vectorising: no loops, no objects, no
// library.
#include <unistd.h>

#include <cstddef>

#include "comm/process.hpp"

namespace viaduct {
namespace {

inline void say(const char* text, size_t length) { [[maybe_unused]] auto written = ::write(2, text, length); }

#define REQUIRE_FEATURE(name)                                                                                         \
  if (!__builtin_cpu_supports(name)) {                                                                                \
    constexpr char text[] =                                                                                           \
        "viaduct: error: this program was built for CPUs with " name                                                  \
        ", which this CPU does not have. Build it for this machine: make clean; make ARCH=native, or ARCH=x86-64-v3 " \
        "(AVX2) or ARCH=x86-64-v2 for a mixed cluster\n";                                                             \
    say(text, sizeof text - 1);                                                                                       \
    ::_exit(4);                                                                                                       \
  }

}  // namespace

[[gnu::constructor(101)]] void require_cpu() {
#if defined(__x86_64__)
  __builtin_cpu_init();
#ifdef __SSE4_2__
  REQUIRE_FEATURE("sse4.2")
#endif
#ifdef __AVX2__
  REQUIRE_FEATURE("avx2")
#endif
#ifdef __FMA__
  REQUIRE_FEATURE("fma")
#endif
#ifdef __AVX512F__
  REQUIRE_FEATURE("avx512f")
#endif
#ifdef __AVX512BW__
  REQUIRE_FEATURE("avx512bw")
#endif
#ifdef __AVX512DQ__
  REQUIRE_FEATURE("avx512dq")
#endif
#ifdef __AVX512VL__
  REQUIRE_FEATURE("avx512vl")
#endif
#ifdef __AVX512VNNI__
  REQUIRE_FEATURE("avx512vnni")
#endif
#ifdef __AVX512BF16__
  REQUIRE_FEATURE("avx512bf16")
#endif
#ifdef __AVX512VBMI2__
  REQUIRE_FEATURE("avx512vbmi2")
#endif
#endif
}

}  // namespace viaduct
