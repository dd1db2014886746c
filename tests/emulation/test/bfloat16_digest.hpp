// A number that two implementations of <cuda_bf16.h> share only if they convert alike. Includes nothing else of CUDA's,
// so that it compiles with the stand-in and with the real header.
#pragma once
#include <cuda_bf16.h>

#include <cstdint>
#include <cstring>

inline uint64_t bfloat16_digest() {
  uint64_t digest = 14695981039346656037u;
  auto add = [&](uint64_t v) { digest = (digest ^ v) * 1099511628211u; };
  uint32_t u = 0;
  for (int i = 0; i < 1 << 20; ++i, u += 4099) {  // through the floats, NaN and infinities among them
    float f, back;
    std::memcpy(&f, &u, 4);
    __nv_bfloat16 h = __float2bfloat16(f);
    add(__bfloat16_as_ushort(h));
    back = __bfloat162float(h);
    uint32_t bits;
    std::memcpy(&bits, &back, 4);
    add(bits);
    __nv_bfloat162 pair = __floats2bfloat162_rn(f, back);
    std::memcpy(&bits, &pair, 4);
    add(bits);
  }
  return digest;
}
