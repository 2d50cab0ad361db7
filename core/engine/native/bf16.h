// The element type bf16: the upper 16 bits of an f32. Kernels compute in f32: they convert while they load
// and while they store.
#pragma once
#include <cstdint>

namespace lb {

// bf16 converts to f32, which is exact, and from it, to the nearest number and in a tie to the even one. NaN
// stays NaN. A kernel that is a template of its element type reads and writes it as it does float; loops are
// vectorised, which they would not be if a number were assigned as a temporary bf16.
struct bf16 {
  uint16_t bits;
  bf16() = default;
  inline __attribute__((always_inline)) bf16(float x) : bits(rounded(x)) {}
  inline __attribute__((always_inline)) bf16 &operator=(float x) {
    bits = rounded(x);
    return *this;
  }
  inline __attribute__((always_inline)) operator float() const {
    return __builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16);
  }

 private:
  static inline __attribute__((always_inline)) uint16_t rounded(float x) {
    auto b = __builtin_bit_cast(uint32_t, x);
    uint32_t sum = x == x ? b + 0x7fff + (b >> 16 & 1) : b | 0x400000;
    return static_cast<uint16_t>(sum >> 16);
  }
};
static_assert(sizeof(bf16) == 2, "an element has two bytes");

}  // namespace lb
