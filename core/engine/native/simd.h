// Vectors of W floats, where W is a template parameter: one source of a kernel for AVX-512 (W = 16) and for
// AVX2 with FMA (W = 8).
//
//   template <int W>
//   LB_INLINE void twice(const float *x, float *y) { store<W>(y, 2 * load<W>(x)); }
//   ...
//   machine<W>::template call<twice<W>>(x, y);
//
// Elements of a tensor in bf16 become floats when they are loaded, and are rounded when they are stored.
//
// The functions of a kernel are inlined, all of them, into `call`, which is compiled for the instruction set.
// Sums of products are contracted to FMA, so that both instruction sets have the same rounding.
#pragma once
#include <cstring>

#include "cpu.h"

namespace lb {

#if defined(__x86_64__)

// Every function that takes or returns a vector is inlined, so how vectors are passed does not matter.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

template <int W>
struct lanes_of;
template <>
struct lanes_of<8> {
  typedef uint16_t shorts __attribute__((vector_size(16), aligned(2), may_alias));
  typedef uint32_t words __attribute__((vector_size(32)));
  typedef int32_t ints __attribute__((vector_size(32)));
  typedef uint8_t octets __attribute__((vector_size(8)));
  typedef float type __attribute__((vector_size(32)));
  typedef float unaligned __attribute__((vector_size(32), aligned(4), may_alias));
};
template <>
struct lanes_of<16> {
  typedef uint16_t shorts __attribute__((vector_size(32), aligned(2), may_alias));
  typedef uint32_t words __attribute__((vector_size(64)));
  typedef int32_t ints __attribute__((vector_size(64)));
  typedef uint8_t octets __attribute__((vector_size(16)));
  typedef float type __attribute__((vector_size(64)));
  typedef float unaligned __attribute__((vector_size(64), aligned(4), may_alias));
};

template <int W>
using floats = typename lanes_of<W>::type;
template <int W>
using ints = typename lanes_of<W>::ints;
template <int W>
using words = typename lanes_of<W>::words;
template <int W>
using octets = typename lanes_of<W>::octets;

template <int W>
LB_INLINE floats<W> load(const float *from) {
  return *reinterpret_cast<const typename lanes_of<W>::unaligned *>(from);
}

template <int W>
LB_INLINE void store(float *to, const floats<W> &v) {
  *reinterpret_cast<typename lanes_of<W>::unaligned *>(to) = v;
}

template <int W>
LB_INLINE floats<W> load(const bf16 *from) {
  using words = typename lanes_of<W>::words;
  auto bits = *reinterpret_cast<const typename lanes_of<W>::shorts *>(from);
  return (floats<W>)(__builtin_convertvector(bits, words) << 16);
}

// round_to is v as a tensor of the type of the last argument has it, in f32: as it is, or as bf16.h rounds.
template <int W>
LB_INLINE floats<W> round_to(const floats<W> &v, float) {
  return v;
}
template <int W>
LB_INLINE floats<W> round_to(const floats<W> &v, bf16) {
  auto bits = (typename lanes_of<W>::words)v, sum = bits + 0x7fff + (bits >> 16 & 1);
  return (floats<W>)((v != v ? bits | 0x400000 : sum) & 0xffff0000);
}

template <int W>
LB_INLINE void store(bf16 *to, const floats<W> &v) {
  using shorts = typename lanes_of<W>::shorts;
  auto bits = (typename lanes_of<W>::words)round_to<W>(v, bf16{});
  *reinterpret_cast<shorts *>(to) = __builtin_convertvector(bits >> 16, shorts);
}

// instruction_bf16 is bf16 on processors with AVX512_BF16, whose instruction rounds. The bits are the same:
// it differs in denormal numbers only, which the backend flushes to zero (cpu.cc).
struct instruction_bf16 : bf16 {};

template <int W>
LB_INLINE void store(instruction_bf16 *to, const floats<W> &v) {
  static_assert(W == 16, "AVX512_BF16");
  typename lanes_of<W>::shorts bits;
  asm("vcvtneps2bf16 %1, %0" : "=v"(bits) : "v"(v));
  *reinterpret_cast<typename lanes_of<W>::shorts *>(to) = bits;
}

// machine compiles an inline function for one instruction set and calls it.
template <int W>
struct machine;
template <>
struct machine<8> {
  template <auto F, typename... A>
  __attribute__((target("avx2,fma"), noinline)) static void call(A... a) {
    F(a...);
  }
};
template <>
struct machine<16> {
  template <auto F, typename... A>
  __attribute__((target("avx512f"), noinline)) static void call(A... a) {
    F(a...);
  }
};

// load_octets returns W bytes as floats. GCC 12 takes __builtin_convertvector from bytes apart.
template <int W>
LB_INLINE floats<W> load_octets(const uint8_t *from) {
  struct bytes {
    uint8_t of[W];
  };
  ints<W> numbers;
  asm("vpmovzxbd %1, %0" : "=v"(numbers) : "m"(*reinterpret_cast<const bytes *>(from)));
  return __builtin_convertvector(numbers, floats<W>);
}

// exponential is that of cpu.h, with products contracted to FMA: for x in [-87, 0] to two units in the last
// place, and that of the nearer end for other x up to 88. NaN stays NaN.
template <int W>
LB_INLINE floats<W> exponential(const floats<W> &of) {
  constexpr float whole = 12582912.0f;  // adding it rounds to an integer
  floats<W> low = floats<W>{} - 87.0f, x = of < low ? low : of;
  floats<W> n = x * 1.44269504f + whole - whole;
  floats<W> r = x - n * 0.693359375f + n * 2.12194440e-4f;
  floats<W> y = 1.9875691500e-4f * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  ints<W> exponent = __builtin_convertvector(n, ints<W>) + 127;
  return (y * r * r + r + 1) * (floats<W>)(exponent << 23);
}

// transpose writes to[j * stride + i] = from[i * width + j] for i and j in 0..7.
LB_INLINE void transpose(const float *from, int64_t width, float *to, int64_t stride) {
  floats<8> r[8], s[8];
  for (int i = 0; i < 8; i++) r[i] = load<8>(from + i * width);
  for (int i = 0; i < 8; i += 2) {
    s[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    s[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4)
    for (int k = 0; k < 2; k++) {
      r[i + 2 * k] = __builtin_shufflevector(s[i + k], s[i + 2 + k], 0, 1, 8, 9, 4, 5, 12, 13);
      r[i + 2 * k + 1] = __builtin_shufflevector(s[i + k], s[i + 2 + k], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int i = 0; i < 4; i++) {
    store<8>(to + i * stride, __builtin_shufflevector(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11));
    store<8>(to + (i + 4) * stride, __builtin_shufflevector(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15));
  }
}

#endif

}  // namespace lb
