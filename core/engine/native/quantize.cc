//go:build !nocpu

// Quantization of saved activations; core/graph/quantize.go defines it to the bit. One read of x and one
// write of the packed bytes, and the reverse: bound by memory, so a group of 256 elements stays in the cache
// while its extent, the random words and the levels are computed, each in a loop over vectors.
#include <algorithm>
#include <cstring>

// Each operation is rounded on its own: a fused multiply-add would give other bits than the other backends.
#pragma GCC optimize("fp-contract=off")
#include "balance.h"
#include "cpu.h"
#include "rng.h"
#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // of variables in this header of GCC 12
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#endif

namespace lb {
namespace {

constexpr int64_t group = 256, width = 16;
constexpr float smallest_range = 1e-30f;

struct extent {
  float least, range;
};

// extent_between is the extent of a group between two elements; not finite: some element is no finite number.
static inline __attribute__((always_inline)) extent extent_between(float least, float most, bool finite) {
  if (__builtin_fabsf(least) < 1.17549435e-38f) least = 0;
  float range = most - least;
  if (!finite || !(range <= 3.40282347e38f)) return {0, __builtin_nanf("")};
  return {least, range < smallest_range ? 0 : range};
}

// extent_of is the minimum and the range of a group. Each of the `width` columns has an extent of its own
// first.
static inline __attribute__((always_inline)) extent extent_of(const float *x) {
  alignas(64) float low[width], high[width];
  alignas(64) int32_t magnitude[width];
#pragma omp simd
  for (int64_t j = 0; j < width; j++) {
    float a = x[j], b = x[j];
    int32_t top = 0;
    for (int64_t i = 0; i < group; i += width) {
      float v = x[i + j];
      int32_t bits = __builtin_bit_cast(int32_t, v) & 0x7fffffff;
      a = v < a ? v : a, b = v > b ? v : b, top = bits > top ? bits : top;
    }
    low[j] = a, high[j] = b, magnitude[j] = top;
  }
#pragma GCC unroll 4
  for (int64_t half = width / 2; half > 0; half /= 2)
#pragma omp simd
    for (int64_t j = 0; j < half; j++) {
      low[j] = low[j + half] < low[j] ? low[j + half] : low[j];
      high[j] = high[j + half] > high[j] ? high[j + half] : high[j];
      magnitude[j] = magnitude[j + half] > magnitude[j] ? magnitude[j + half] : magnitude[j];
    }
  return extent_between(low[0], high[0], magnitude[0] < 0x7f800000);
}

// words_of writes the random words of a group: stream k of its 16 blocks from word[16 k] on. GCC does not see
// that operands of a product of 64 bits have 32, so there are versions with intrinsics: each block in a lane
// of 64 bits, of which the upper half is ignored.
using words_function = void(const rounding &r, uint32_t block, uint32_t *word);

void words_plain(const rounding &r, uint32_t block, uint32_t *word) {
  for (uint32_t j = 0; j < width; j++) {
    random_block w = r.words(block + j);
    for (int64_t k = 0; k < 4; k++) word[k * width + j] = w.word[k];
  }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) void words_avx2(const rounding &r, uint32_t block, uint32_t *word) {
  const __m256i first = _mm256_set1_epi64x(0xD2511F53), second = _mm256_set1_epi64x(0xCD9E8D57);
  const __m256i first_step = _mm256_set1_epi64x(0x9E3779B9), second_step = _mm256_set1_epi64x(0xBB67AE85);
  for (int64_t h = 0; h < 2; h++) {
    __m256i low = _mm256_set1_epi64x(r.stream[0]), high = _mm256_set1_epi64x(r.stream[1]), c[2][4];
    for (int64_t part = 0; part < 2; part++) {
      c[part][0] =
          _mm256_add_epi64(_mm256_set1_epi64x(block + 8 * h + 4 * part), _mm256_set_epi64x(3, 2, 1, 0));
      c[part][1] = _mm256_set1_epi64x(r.salt), c[part][2] = _mm256_set1_epi64x(r.stream[2]);
      c[part][3] = _mm256_set1_epi64x(purpose_rounding);
    }
    for (int round = 0; round < 10; round++) {
      for (auto &v : c) {
        __m256i a = _mm256_mul_epu32(v[0], first), b = _mm256_mul_epu32(v[2], second);
        v[0] = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(b, 32), v[1]), low), v[1] = b;
        v[2] = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(a, 32), v[3]), high), v[3] = a;
      }
      low = _mm256_add_epi64(low, first_step), high = _mm256_add_epi64(high, second_step);
    }
    for (int64_t k = 0; k < 4; k++) {
      __m256 lower = _mm256_shuffle_ps(_mm256_castsi256_ps(c[0][k]), _mm256_castsi256_ps(c[1][k]), 0x88);
      __m256i ordered = _mm256_permute4x64_epi64(_mm256_castps_si256(lower), 0xd8);
      _mm256_store_si256(reinterpret_cast<__m256i *>(word + k * width + 8 * h), ordered);
    }
  }
}
#endif

words_function *choose_words() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return words_avx2;
#endif
  return words_plain;
}
words_function *const words_of = choose_words();

// levels_of writes the levels of a group, rounded with its random words.
static inline __attribute__((always_inline)) void levels_of(const float *x, uint8_t *level, extent e,
                                                            float most, const uint32_t *word) {
  float scale = most / e.range;
#pragma GCC unroll 4
  for (int quarter = 0; quarter < 4; quarter++) {
    const float *from = x + 64 * quarter;
    uint8_t *to = level + 64 * quarter;
#pragma omp simd
    for (int64_t i = 0; i < 64; i++) {
      float t = (from[i] - e.least) * scale;
      t = t < most ? t : most;
      to[i] = static_cast<uint8_t>(
          (static_cast<int32_t>(t) + static_cast<int32_t>(bits_of(word[i], quarter))) >> 16);
    }
  }
}

// group_of returns a group of x in f32: where it is, or widened into the buffer.
static inline __attribute__((always_inline)) const float *group_of(const float *x, float *) { return x; }
static inline __attribute__((always_inline)) const float *group_of(const bf16 *x, float *buffer) {
#pragma omp simd
  for (int64_t i = 0; i < group; i++) buffer[i] = x[i];
  return buffer;
}

// quantize_body quantizes groups [from, to) of x, whose first group has number `first` in the tensor.
template <typename T>
static inline __attribute__((always_inline)) void quantize_body(const T *x, uint8_t *packed, float *ranges,
                                                                int64_t bits, const rounding &r,
                                                                int64_t first, int64_t from, int64_t to) {
  alignas(64) float buffer[group];
  alignas(64) uint8_t level[group];
  alignas(64) uint32_t word[4 * width];
  float most = static_cast<float>(((1 << bits) - 1) << 16);
  for (int64_t g = from; g < to; g++) {
    const float *part = group_of(x + g * group, buffer);
    extent e = extent_of(part);
    ranges[2 * g] = e.least, ranges[2 * g + 1] = e.range;
    uint8_t *out = packed + g * 32 * bits;
    if (!(e.range > 0)) {
      std::memset(out, 0, static_cast<size_t>(32 * bits));
      continue;
    }
    words_of(r, static_cast<uint32_t>(16 * (first + g)), word);
    levels_of(part, bits == 8 ? out : level, e, most, word);
    if (bits == 8) continue;
#pragma omp simd
    for (int64_t b = 0; b < group / 2; b++)
      out[b] = static_cast<uint8_t>(level[b] | level[b + group / 2] << 4);
  }
}

// mask_body stores where x is above 0 and below the top: bit k of byte b of a group is element 32 k + b.
template <typename T>
static inline __attribute__((always_inline)) void mask_body(const T *x, uint8_t *packed, float top,
                                                            int64_t from, int64_t to) {
  alignas(64) float buffer[group];
  alignas(64) uint32_t byte[32];
  for (int64_t g = from; g < to; g++) {
    const float *part = group_of(x + g * group, buffer);
#pragma omp simd
    for (int64_t b = 0; b < 32; b++) {
      uint32_t all = 0;
      for (int k = 0; k < 8; k++) all |= (passes(part[32 * k + b], top) ? 1u : 0u) << k;
      byte[b] = all;
    }
    uint8_t *out = packed + g * 32;
#pragma omp simd
    for (int64_t b = 0; b < 32; b++) out[b] = static_cast<uint8_t>(byte[b]);
  }
}

// expand_body writes the elements of groups [from, to).
template <int bits, typename T>
static inline __attribute__((always_inline)) void expand_body(const uint8_t *packed, const float *ranges,
                                                              T *y, int64_t from, int64_t to) {
  constexpr int64_t period = 32 * bits;
  for (int64_t g = from; g < to; g++) {
    const uint8_t *in = packed + g * period;
    T *out = y + g * group;
    float least = bits > 1 ? ranges[2 * g] : 0, step = bits > 1 ? ranges[2 * g + 1] / ((1 << bits) - 1) : 1;
#pragma GCC unroll 8
    for (int k = 0; k < 8 / bits; k++) {
#pragma omp simd
      for (int64_t b = 0; b < period; b++) {
        float q = static_cast<float>(static_cast<int32_t>(in[b]) >> (k * bits) & ((1 << bits) - 1));
        out[k * period + b] = bits > 1 ? least + q * step : q;
      }
    }
  }
}

#if defined(__x86_64__)
// The same for AVX-512, with the random words of a group in registers. A group is some 300 operations of 64
// bytes, and its bytes take less time: BenchmarkOp/quantize.
#define LB_512_TARGET __attribute__((target("avx512f,avx512bw")))
#define LB_512 static inline __attribute__((target("avx512f,avx512bw"), always_inline))

LB_512 __m512 load_16(const float *x) { return _mm512_loadu_ps(x); }
LB_512 __m512 load_16(const bf16 *x) {
  __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(x));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

// stream_512 has what the random words of all groups share. Blocks differ in the first word of the counter
// alone, so of the first two rounds one product each is the same for all: low[1], high[0] and high[1] hold
// it combined with the key, `fourth` the last word after the two rounds.
struct stream_512 {
  __m512i low[10], high[10], fourth;
};

LB_512 stream_512 stream_512_of(const rounding &r) {
  stream_512 s;
  uint32_t low[10], high[10];
  low[0] = r.stream[0], high[0] = r.stream[1];
  for (int i = 1; i < 10; i++) low[i] = low[i - 1] + 0x9E3779B9u, high[i] = high[i - 1] + 0xBB67AE85u;
  uint64_t b = uint64_t{0xCD9E8D57u} * r.stream[2];
  uint64_t a = uint64_t{0xD2511F53u} * (static_cast<uint32_t>(b >> 32) ^ r.salt ^ low[0]);
  high[0] ^= purpose_rounding;
  low[1] ^= static_cast<uint32_t>(b), high[1] ^= static_cast<uint32_t>(a >> 32);
  for (int i = 0; i < 10; i++) s.low[i] = _mm512_set1_epi64(low[i]), s.high[i] = _mm512_set1_epi64(high[i]);
  s.fourth = _mm512_set1_epi64(static_cast<uint32_t>(a));
  return s;
}

// random_512 gives the words of 16 blocks: word k of each block in register k.
LB_512 void random_512(const stream_512 &s, uint32_t block, __m512i word[4]) {
  const __m512i first = _mm512_set1_epi64(0xD2511F53), second = _mm512_set1_epi64(0xCD9E8D57);
  __m512i c[2][4];
  for (int64_t h = 0; h < 2; h++) {
    __m512i number =
        _mm512_add_epi64(_mm512_set1_epi64(block + 8 * h), _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0));
    __m512i a = _mm512_mul_epu32(number, first);
    __m512i b = _mm512_mul_epu32(_mm512_xor_si512(_mm512_srli_epi64(a, 32), s.high[0]), second);
    c[h][0] = _mm512_xor_si512(_mm512_srli_epi64(b, 32), s.low[1]), c[h][1] = b;
    c[h][2] = _mm512_xor_si512(a, s.high[1]), c[h][3] = s.fourth;
  }
#pragma GCC unroll 8
  for (int round = 2; round < 10; round++)
    for (auto &v : c) {
      __m512i a = _mm512_mul_epu32(v[0], first), b = _mm512_mul_epu32(v[2], second);
      v[0] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(b, 32), v[1], s.low[round], 0x96);  // a ^ b ^ c
      v[2] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(a, 32), v[3], s.high[round], 0x96);
      v[1] = b, v[3] = a;
    }
  const __m512i lower = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  for (int64_t k = 0; k < 4; k++) word[k] = _mm512_permutex2var_epi32(c[0][k], lower, c[1][k]);
}

// extent_512 is extent_of. An infinite element makes the range infinite or NaN; where a NaN is, a comparison
// tells.
template <typename T>
LB_512 extent extent_512(const T *x) {
  __m512 low[2] = {load_16(x), load_16(x + width)}, high[2] = {low[0], low[1]};
  __mmask16 numbers = _mm512_cmp_ps_mask(low[0], low[1], _CMP_ORD_Q);
#pragma GCC unroll 7
  for (int64_t i = 2 * width; i < group; i += 2 * width) {
    __m512 a = load_16(x + i), b = load_16(x + i + width);
    low[0] = _mm512_min_ps(a, low[0]), high[0] = _mm512_max_ps(a, high[0]);
    low[1] = _mm512_min_ps(b, low[1]), high[1] = _mm512_max_ps(b, high[1]);
    numbers = _mm512_mask_cmp_ps_mask(numbers, a, b, _CMP_ORD_Q);
  }
  return extent_between(_mm512_reduce_min_ps(_mm512_min_ps(low[0], low[1])),
                        _mm512_reduce_max_ps(_mm512_max_ps(high[0], high[1])), numbers == 0xffff);
}

// octets_512 are 64 numbers of 32 bits as bytes, 255 where they are larger.
LB_512 __m512i octets_512(const __m512i v[4]) {
  // Packing interleaves quarters of the registers.
  const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
  __m512i all = _mm512_packus_epi16(_mm512_packus_epi32(v[0], v[1]), _mm512_packus_epi32(v[2], v[3]));
  return _mm512_permutexvar_epi32(order, all);
}

// levels_512 are the levels of a quarter of a group. Rounding can make t larger than that of the largest
// level, by at most 2^-23 of it: less than 1 in 4 bits, but 2 in 8 bits, of which level 256 can be, which is
// cut off.
template <int quarter, typename T>
LB_512 __m512i levels_512(const T *x, __m512 least, __m512 scale, const __m512i word[4]) {
  __m512i level[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) {
    __m512 t = _mm512_mul_ps(_mm512_sub_ps(load_16(x + 64 * quarter + k * width), least), scale);
    __m512i part = quarter == 0 ? word[k] : _mm512_ror_epi32(word[k], 8 * quarter);
    part = _mm512_and_si512(part, _mm512_set1_epi32(0xffff));
    level[k] = _mm512_srli_epi32(_mm512_add_epi32(_mm512_cvttps_epi32(t), part), 16);
  }
  return octets_512(level);
}

template <int bits, typename T>
LB_512_TARGET void quantize_512(const T *x, uint8_t *packed, float *ranges, const rounding &r, int64_t first,
                                int64_t from, int64_t to) {
  const __m512 most = _mm512_set1_ps(static_cast<float>(((1 << bits) - 1) << 16));
  const stream_512 stream = stream_512_of(r);
  for (int64_t g = from; g < to; g++) {
    const T *part = x + g * group;
    uint8_t *out = packed + g * 32 * bits;
    __m512i word[4];
    random_512(stream, static_cast<uint32_t>(16 * (first + g)), word);  // while the extent is computed
    extent e = extent_512(part);
    ranges[2 * g] = e.least, ranges[2 * g + 1] = e.range;
    if (!(e.range > 0)) {
      std::memset(out, 0, static_cast<size_t>(32 * bits));
      continue;
    }
    __m512 least = _mm512_set1_ps(e.least), scale = _mm512_div_ps(most, _mm512_set1_ps(e.range));
    __m512i a = levels_512<0>(part, least, scale, word), b = levels_512<1>(part, least, scale, word);
    __m512i c = levels_512<2>(part, least, scale, word), d = levels_512<3>(part, least, scale, word);
    if (bits == 8) {
      _mm512_storeu_si512(out, a), _mm512_storeu_si512(out + 64, b);
      _mm512_storeu_si512(out + 128, c), _mm512_storeu_si512(out + 192, d);
    } else {
      _mm512_storeu_si512(out, _mm512_or_si512(a, _mm512_slli_epi16(c, 4)));
      _mm512_storeu_si512(out + 64, _mm512_or_si512(b, _mm512_slli_epi16(d, 4)));
    }
  }
}

template <typename T>
LB_512_TARGET void mask_512(const T *x, uint8_t *packed, float top, int64_t from, int64_t to) {
  const __m512 most = _mm512_set1_ps(top);
  for (int64_t g = from; g < to; g++)
    for (int64_t half = 0; half < 32; half += width) {
      const T *part = x + g * group + half;
      __m512i octet = _mm512_setzero_si512();
#pragma GCC unroll 8
      for (int k = 0; k < 8; k++) {
        __m512 v = load_16(part + 32 * k);
        __mmask16 above = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_GT_OQ);
        __mmask16 inside = _mm512_mask_cmp_ps_mask(above, v, most, _CMP_LT_OQ);
        octet = _mm512_mask_or_epi32(octet, inside, octet, _mm512_set1_epi32(1 << k));
      }
      _mm_storeu_si128(reinterpret_cast<__m128i *>(packed + g * 32 + half), _mm512_cvtepi32_epi8(octet));
    }
}

// expand_512 is expand_body in f32.
template <int bits>
LB_512_TARGET void expand_512(const uint8_t *packed, const float *ranges, float *y, int64_t from,
                              int64_t to) {
  constexpr int64_t period = 32 * bits;
  for (int64_t g = from; g < to; g++) {
    const uint8_t *in = packed + g * period;
    float *out = y + g * group;
    __m512 least = _mm512_set1_ps(ranges[2 * g]),
           step = _mm512_set1_ps(ranges[2 * g + 1] / ((1 << bits) - 1));
#pragma GCC unroll 8
    for (int64_t b = 0; b < period; b += width) {
      __m512i octets = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(in + b)));
#pragma GCC unroll 2
      for (int k = 0; k < 8 / bits; k++) {
        __m512i level = bits == 8 ? octets
                        : k == 1  ? _mm512_srli_epi32(octets, 4)
                                  : _mm512_and_si512(octets, _mm512_set1_epi32(15));
        _mm512_storeu_ps(out + k * period + b,
                         _mm512_add_ps(least, _mm512_mul_ps(_mm512_cvtepi32_ps(level), step)));
      }
    }
  }
}
#undef LB_512
#undef LB_512_TARGET

const bool has_512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
#endif

// LB_CLONES does not apply to templates.
#define LB_QUANTIZE(T)                                                                                 \
  LB_CLONES void quantize_groups(const T *x, uint8_t *packed, float *ranges, int64_t bits, rounding r, \
                                 int64_t first, int64_t from, int64_t to) {                            \
    quantize_body(x, packed, ranges, bits, r, first, from, to);                                        \
  }                                                                                                    \
  LB_CLONES void mask_groups(const T *x, uint8_t *packed, float top, int64_t from, int64_t to) {       \
    mask_body(x, packed, top, from, to);                                                               \
  }                                                                                                    \
  LB_CLONES void expand8(const uint8_t *packed, const float *ranges, T *y, int64_t from, int64_t to) { \
    expand_body<8>(packed, ranges, y, from, to);                                                       \
  }                                                                                                    \
  LB_CLONES void expand4(const uint8_t *packed, const float *ranges, T *y, int64_t from, int64_t to) { \
    expand_body<4>(packed, ranges, y, from, to);                                                       \
  }                                                                                                    \
  LB_CLONES void expand1(const uint8_t *packed, const float *ranges, T *y, int64_t from, int64_t to) { \
    expand_body<1>(packed, ranges, y, from, to);                                                       \
  }
LB_QUANTIZE(float)
LB_QUANTIZE(bf16)

// clear_tail clears the bits of elements from n on in the bytes of a group.
void clear_tail(uint8_t *packed, int64_t bits, int64_t n) {
  for (int64_t e = n; e < group; e++)
    packed[e % (32 * bits)] &= static_cast<uint8_t>(~(((1 << bits) - 1) << (e / (32 * bits) * bits)));
}

template <typename T>
void quantize(const op &o, int threads) {
  const value &x = *o.operands[0];
  int64_t bits = o.attr.bits, whole = x.elements / group, rest = x.elements % group;
  uint8_t *packed = o.results[0]->data;
  float *ranges = bits > 1 ? o.out(1) : nullptr;
  rounding r{bits > 1 ? reinterpret_cast<const uint32_t *>(o.operands[1]->data) : nullptr,
             static_cast<uint32_t>(o.attr.salt)};
  auto part = [&](const T *from, int64_t first, int64_t a, int64_t b) {
    uint8_t *to = packed + first * 32 * bits;
#if defined(__x86_64__)
    if (has_512) {
      if (bits == 1)
        mask_512(from, to, o.attr.top(), a, b);
      else
        (bits == 8 ? quantize_512<8, T> : quantize_512<4, T>)(from, to, ranges + 2 * first, r, first, a, b);
      return;
    }
#endif
    if (bits == 1)
      mask_groups(from, to, o.attr.top(), a, b);
    else
      quantize_groups(from, to, ranges + 2 * first, bits, r, first, a, b);
  };
  if (whole > 0)
    balanced(whole, 16, threads, x.elements, [&](int64_t a, int64_t b, int) { part(o.in<T>(0), 0, a, b); });
  if (rest == 0) return;
  // The last group is filled up with its first element, which does not change its extent.
  alignas(64) T last[group];
  const T *from = o.in<T>(0) + whole * group;
  std::copy_n(from, rest, last), std::fill(last + rest, last + group, from[0]);
  part(last, whole, 0, 1);
  clear_tail(packed + whole * 32 * bits, bits, rest);
}

template <typename T>
void dequantize(const op &o, int threads) {
  int64_t n = o.results[0]->elements, bits = o.attr.bits, whole = n / group, rest = n % group;
  const uint8_t *packed = o.operands[0]->data;
  const float *ranges = o.in(1);
  T *y = o.out<T>(0);
  using function = void(const uint8_t *, const float *, T *, int64_t, int64_t);
  function *of8 = expand8, *of4 = expand4, *of1 = expand1;
#if defined(__x86_64__)
  if constexpr (std::is_same_v<T, float>)
    if (has_512) of8 = expand_512<8>, of4 = expand_512<4>;
#endif
  function *expand = bits == 8 ? of8 : bits == 4 ? of4 : of1;
  if (whole > 0)
    balanced(whole, 16, threads, n, [&](int64_t a, int64_t b, int) { expand(packed, ranges, y, a, b); });
  if (rest == 0) return;
  alignas(64) T last[group];
  expand(packed + whole * 32 * bits, ranges ? ranges + 2 * whole : nullptr, last, 0, 1);
  std::copy_n(last, rest, y + whole * group);
}

}  // namespace

std::unique_ptr<kernel> make_quantize(const op &o, cpu &d) {
  bool store = o.kind == kind_quantize;
  return typed(store ? *o.operands[0] : *o.results[0], [&](auto number) -> std::unique_ptr<kernel> {
    using T = decltype(number);
    return std::make_unique<function>(store ? quantize<T> : dequantize<T>, d.threads);
  });
}

}  // namespace lb
