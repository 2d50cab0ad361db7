// Products of small matrices by a warp on tensor cores, and what feeds them.
//
// A 32-bit word holds one tf32 number or two neighbouring bf16 numbers. In words the operands of
// both types lie in the same places, which is why kernels count in words: with g = lane / 4 and
// t = lane % 4, lane holds of
//   a [16 rows][8 words]     (g, t) (g+8, t) (g, t+4) (g+8, t+4)
//   b [8 words][8 columns]   (t, g) (t+4, g)
//   c [16 rows][8 columns]   (g, 2t) (g, 2t+1) (g+8, 2t) (g+8, 2t+1), f32
// (PTX ISA, mma.m16n8k8 with .tf32 and mma.m16n8k16 with .bf16.)
#pragma once
#include "gpu.h"

#if defined(LB_EMU) || defined(__CUDACC__)

namespace lb {

// to_tf32 rounds to 10 bits of mantissa, ties away from zero, and returns the word.
__device__ inline uint32_t to_tf32(float x) {
  uint32_t u;
#ifdef LB_EMU
  std::memcpy(&u, &x, sizeof u);
  if ((u & 0x7f800000u) != 0x7f800000u) u = (u + 0x1000u) & ~0x1fffu;
#else
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(u) : "f"(x));
#endif
  return u;
}

// clip_between clips to [bottom, top]. NaN stays NaN.
__device__ inline float clip_between(float x, float bottom, float top) {
#ifdef LB_EMU
  x = bottom > x ? bottom : x;
  return x > top ? top : x;
#else
  asm("max.NaN.f32 %0, %0, %1;" : "+f"(x) : "f"(bottom));
  asm("min.NaN.f32 %0, %0, %1;" : "+f"(x) : "f"(top));
  return x;
#endif
}

// narrow_pair makes a word of two numbers, each rounded to bf16 as by narrow; clip_pair clips both.
__device__ inline uint32_t narrow_pair(float low, float high) {
  uint32_t word;
#ifdef LB_EMU
  bf16 pair[2];
  narrow(low, pair[0]), narrow(high, pair[1]);
  std::memcpy(&word, pair, sizeof word);
#else
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
#endif
  return word;
}
__device__ inline uint32_t clip_pair(uint32_t x, uint32_t bottom, uint32_t top) {
#ifdef LB_EMU
  bf16 v[2], b[2], t[2];
  std::memcpy(v, &x, sizeof x), std::memcpy(b, &bottom, sizeof x), std::memcpy(t, &top, sizeof x);
  for (int i = 0; i < 2; i++) narrow(clip_between(widen(v[i]), widen(b[i]), widen(t[i])), v[i]);
  std::memcpy(&x, v, sizeof x);
#else
  asm("max.NaN.bf16x2 %0, %0, %1;" : "+r"(x) : "r"(bottom));
  asm("min.NaN.bf16x2 %0, %0, %1;" : "+r"(x) : "r"(top));
#endif
  return x;
}

// mma computes c += a*b. T is the type in the words. All lanes of a warp call it together.
template <typename T>
__device__ void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

// load_rows fills a from shared memory. Each lane passes the address of 4 words, aligned to 16
// bytes: row lane % 16, words 0 to 3 for lanes below 16 and words 4 to 7 for the others (ldmatrix).
__device__ inline void load_rows(uint32_t (&a)[4], const uint32_t *words);

// load_columns fills a from shared memory, transposed: each lane passes the address of 4 words, 8 bf16 of one
// row, aligned to 16 bytes; lanes 8i to 8i+7 those of matrix i, of 8 rows. a[i] has the elements of its
// column lane/4 in rows 2(lane%4) and 2(lane%4)+1 (ldmatrix.trans).
__device__ inline void load_columns(uint32_t (&a)[4], const uint32_t *words);

#ifdef LB_EMU

namespace emu_words {
inline uint32_t operands[emu::most_threads][6];
inline const uint32_t *rows[emu::most_threads];
inline float number(float, uint32_t word, int) {
  float f;
  std::memcpy(&f, &word, sizeof f);
  return f;
}
inline float number(bf16, uint32_t word, int i) {
  return widen(bf16{static_cast<uint16_t>(i ? word >> 16 : word)});
}
}  // namespace emu_words

template <typename T>
void mma(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  using namespace emu_words;
  unsigned me = emu::current, warp = me / 32 * 32, g = me % 32 / 4, t = me % 4;
  std::copy_n(a, 4, operands[me]), std::copy_n(b, 2, operands[me] + 4);
  emu::wait(emu::state::shuffle);
  for (unsigned i = 0; i < 4; i++) {
    unsigned column = 2 * t + i % 2;
    float sum = 0;
    for (unsigned k = 0; k < 8; k++) {
      uint32_t left = operands[warp + g * 4 + k % 4][i / 2 + k / 4 * 2],
               right = operands[warp + column * 4 + k % 4][4 + k / 4];
      for (int half = 0; half < static_cast<int>(4 / sizeof(T)); half++)
        sum += number(T{}, left, half) * number(T{}, right, half);
    }
    c[i] += sum;
  }
  emu::wait(emu::state::shuffle);
}

inline void load_rows(uint32_t (&a)[4], const uint32_t *words) {
  using namespace emu_words;
  unsigned me = emu::current, warp = me / 32 * 32, g = me % 32 / 4, t = me % 4;
  if (reinterpret_cast<uintptr_t>(words) % 16 != 0) emu::stop("rows at an address that is no multiple of 16");
  rows[me] = words;
  emu::wait(emu::state::shuffle);
  for (unsigned i = 0; i < 4; i++) a[i] = rows[warp + i * 8 + g][t];
  emu::wait(emu::state::shuffle);
}

inline void load_columns(uint32_t (&a)[4], const uint32_t *words) {
  using namespace emu_words;
  unsigned me = emu::current, warp = me / 32 * 32, g = me % 32 / 4, t = me % 4;
  if (reinterpret_cast<uintptr_t>(words) % 16 != 0) emu::stop("rows at an address that is no multiple of 16");
  rows[me] = words;
  emu::wait(emu::state::shuffle);
  for (unsigned i = 0; i < 4; i++) {
    uint32_t half[2];
    for (unsigned e = 0; e < 2; e++) half[e] = rows[warp + i * 8 + 2 * t + e][g / 2] >> g % 2 * 16 & 0xffffu;
    a[i] = half[0] | half[1] << 16;
  }
  emu::wait(emu::state::shuffle);
}

// shared_words is the dynamic shared memory of the block.
inline uint32_t *shared_words() { return emu::dynamic; }

#else

template <>
__device__ inline void mma<float>(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <>
__device__ inline void mma<bf16>(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ inline void load_rows(uint32_t (&a)[4], const uint32_t *words) {
  auto at = static_cast<unsigned>(__cvta_generic_to_shared(words));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
               : "r"(at));
}

__device__ inline void load_columns(uint32_t (&a)[4], const uint32_t *words) {
  auto at = static_cast<unsigned>(__cvta_generic_to_shared(words));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
               : "r"(at));
}

__device__ inline uint32_t *shared_words() {
  extern __shared__ uint4 words[];
  return reinterpret_cast<uint32_t *>(words);
}

#endif

}  // namespace lb

#endif
