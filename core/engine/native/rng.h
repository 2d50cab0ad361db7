// Random numbers by their address, the same bits as those of core/rng: Philox4x32-10 (Salmon, Moraes,
// Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011).
//
//   key     = (low 32 bits of the seed, high 32 bits of it)
//   counter = (low 32 bits of the block, high 32 bits of it, epoch, purpose)
//
// All backends include it; the cpu backend vectorizes over blocks.
#pragma once
#include <cmath>

#include "program.h"

#ifdef __CUDACC__
#define LB_ANYWHERE __host__ __device__ __forceinline__
#else
#define LB_ANYWHERE inline __attribute__((always_inline))
#endif

namespace lb {

constexpr uint32_t purpose_dropout = 4;   // rng.PurposeDropout
constexpr uint32_t purpose_rounding = 7;  // rng.PurposeRounding

// random_block returns the four words at an address.
struct random_block {
  uint32_t word[4];
};

LB_ANYWHERE random_block random_at(uint32_t seed_low, uint32_t seed_high, uint32_t purpose, uint32_t epoch,
                                   uint32_t block_low, uint32_t block_high) {
  uint32_t c0 = block_low, c1 = block_high, c2 = epoch, c3 = purpose;
  for (int round = 0; round < 10; round++) {
    // High and low words apart: GCC vectorizes that for AVX2 into twice as fast a loop.
    auto a = static_cast<uint32_t>(uint64_t{0xD2511F53u} * c0 >> 32), a_low = 0xD2511F53u * c0;
    auto b = static_cast<uint32_t>(uint64_t{0xCD9E8D57u} * c2 >> 32), b_low = 0xCD9E8D57u * c2;
    c0 = b ^ c1 ^ seed_low, c1 = b_low;
    c2 = a ^ c3 ^ seed_high, c3 = a_low;
    seed_low += 0x9E3779B9u, seed_high += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// dropping is the random decision of a dropout op: element or sample k is kept if word k%4 of block k/4 is at
// least the bound. The stream is in memory, since it changes with each run.
struct dropping {
  const uint32_t *stream;  // low and high 32 bits of the seed, step
  uint32_t salt, bound;
  float scale;  // of elements that are kept
  LB_ANYWHERE random_block words(uint32_t block) const {
    return random_at(stream[0], stream[1], purpose_dropout, stream[2], block, salt);
  }
  LB_ANYWHERE bool keeps(int64_t k) const {
    random_block w = words(static_cast<uint32_t>(k / 4));
    // A run-time index would put the words into local memory on a GPU.
    uint32_t word = k % 4 == 0 ? w.word[0] : k % 4 == 1 ? w.word[1] : k % 4 == 2 ? w.word[2] : w.word[3];
    return word >= bound;
  }
};

// dropping_of reads a dropout op.
inline dropping dropping_of(const op &o) {
  double bound = std::ceil(o.attr.rate * 4294967296.0);
  return {reinterpret_cast<const uint32_t *>(o.operands[1]->data), static_cast<uint32_t>(o.attr.salt),
          bound < 4294967295.0 ? static_cast<uint32_t>(bound) : 4294967295u,
          static_cast<float>(1 / (1 - o.attr.rate))};
}

// rounding has the random bits of a quantize op: 16 blocks for each group of 256 elements.
struct rounding {
  const uint32_t *stream;  // low and high 32 bits of the seed, step
  uint32_t salt;
  LB_ANYWHERE random_block words(uint32_t block) const {
    return random_at(stream[0], stream[1], purpose_rounding, stream[2], block, salt);
  }
};

// bits_of gives an element its 16 bits of a word; quarter is its place in the group divided by 64.
LB_ANYWHERE uint32_t bits_of(uint32_t word, int quarter) {
  return (quarter == 0 ? word : word >> 8 * quarter | word << (32 - 8 * quarter)) & 0xffffu;
}

}  // namespace lb
