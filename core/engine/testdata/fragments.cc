// Holds the stand-in's products of a warp, and its loads of rows, against the layouts that CUTLASS writes
// down for the same instructions (CuTe, include/cute/atom/mma_traits_sm80.hpp): a layout is a shape and
// a stride for each of its modes, and maps a lane and the number of one of its elements to a
// place in a matrix whose columns are contiguous. The kernels of the CUDA backend feed tensor cores by the
// same comment that the stand-in was written from, so that parity alone would not show a wrong reading.
//
// Built by a test with the flags of the stand-in; prints what differs, and ends with 1.
#include <cstdio>
#include <vector>

#include "../cuda/mma.h"

namespace {

// mode is a shape with its stride; a coordinate is taken apart with the first mode running fastest.
struct mode {
  int shape, stride;
};
int offset(const std::vector<mode> &modes, int coordinate) {
  int sum = 0;
  for (const mode &m : modes) sum += coordinate % m.shape * m.stride, coordinate /= m.shape;
  return sum;
}

struct layout {
  std::vector<mode> lane, element;
  int rows;
  int row(int l, int e) const { return (offset(lane, l) + offset(element, e)) % rows; }
  int column(int l, int e) const { return (offset(lane, l) + offset(element, e)) / rows; }
};

// SM80_16x8x8_F32TF32TF32F32_TN and SM80_16x8x16_F32BF16BF16F32_TN: A is (M, K), B is (N, K), C is (M, N).
const layout c_layout = {{{4, 32}, {8, 1}}, {{2, 16}, {2, 8}}, 16};
const layout tf32_a = {{{4, 16}, {8, 1}}, {{2, 8}, {2, 64}}, 16};
const layout tf32_b = {{{4, 8}, {8, 1}}, {{2, 32}}, 8};
const layout bf16_a = {{{4, 32}, {8, 1}}, {{2, 16}, {2, 8}, {2, 128}}, 16};
const layout bf16_b = {{{4, 16}, {8, 1}}, {{2, 8}, {2, 64}}, 8};

int faults;

uint32_t bits(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

// put writes element e of a lane, which are one or two a word, the first in the lower half.
void put(uint32_t *words, int e, float x, float) { words[e] = bits(x); }
void put(uint32_t *words, int e, float x, lb::bf16) { words[e / 2] |= bits(x) >> 16 << e % 2 * 16; }

// check multiplies matrices of small whole numbers, which are exact in every type.
template <typename T>
void check(const char *name, const layout &a, const layout &b) {
  constexpr int K = 32 / static_cast<int>(sizeof(T));
  float left[16][K], right[8][K];
  for (int k = 0; k < K; k++) {
    for (int m = 0; m < 16; m++) left[m][k] = static_cast<float>((m * 7 + k * 4) % 11 - 5);
    for (int n = 0; n < 8; n++) right[n][k] = static_cast<float>((n * 5 + k * 13) % 9 - 4);
  }
  float got[32][4];
  emu::run_grid(dim3(1), dim3(32), true, [&] {
    int l = static_cast<int>(threadIdx.x);
    uint32_t x[4] = {}, y[2] = {};
    for (int e = 0; e < 4 * (4 / static_cast<int>(sizeof(T))); e++)
      put(x, e, left[a.row(l, e)][a.column(l, e)], T{});
    for (int e = 0; e < 2 * (4 / static_cast<int>(sizeof(T))); e++)
      put(y, e, right[b.row(l, e)][b.column(l, e)], T{});
    float sum[4];
    for (int e = 0; e < 4; e++) sum[e] = static_cast<float>(l * 4 + e);
    lb::mma<T>(sum, x, y);
    for (int e = 0; e < 4; e++) got[l][e] = sum[e];
  });
  for (int l = 0; l < 32; l++)
    for (int e = 0; e < 4; e++) {
      float want = static_cast<float>(l * 4 + e);
      int m = c_layout.row(l, e), n = c_layout.column(l, e);
      for (int k = 0; k < K; k++) want += left[m][k] * right[n][k];
      if (got[l][e] == want) continue;
      std::printf("%s: lane %d element %d, which is (%d, %d): got %g, want %g\n", name, l, e, m, n,
                  static_cast<double>(got[l][e]), static_cast<double>(want));
      faults++;
    }
}

// check_rows loads 16 rows of 8 words with the addresses that the kernels give, and holds what lanes get
// against layout A of tf32, whose elements are words.
void check_rows() {
  alignas(16) static uint32_t words[16][12];
  for (int r = 0; r < 16; r++)
    for (int c = 0; c < 12; c++) words[r][c] = static_cast<uint32_t>(100 * r + c);
  uint32_t got[32][4];
  emu::run_grid(dim3(1), dim3(32), true, [&] {
    unsigned l = threadIdx.x;
    uint32_t a[4];
    lb::load_rows(a, &words[l % 16][l / 16 * 4]);
    for (int e = 0; e < 4; e++) got[l][e] = a[e];
  });
  for (int l = 0; l < 32; l++)
    for (int e = 0; e < 4; e++) {
      uint32_t want = words[tf32_a.row(l, e)][tf32_a.column(l, e)];
      if (got[l][e] == want) continue;
      std::printf("rows: lane %d word %d: got %u, want %u\n", l, e, got[l][e], want);
      faults++;
    }
}

// check_columns loads 16 channels by 16 elements in bf16, stored by element, with the addresses that the
// kernels give, and compares what lanes get with layout A of bf16, where channels are rows and elements are
// summed over.
void check_columns() {
  alignas(16) static uint32_t words[16][12];  // by element: 16 channels, and padding
  for (int e = 0; e < 16; e++)
    for (int c = 0; c < 16; c += 2)
      words[e][c / 2] = static_cast<uint32_t>(e * 16 + c) | static_cast<uint32_t>(e * 16 + c + 1) << 16;
  uint32_t got[32][4];
  emu::run_grid(dim3(1), dim3(32), true, [&] {
    unsigned l = threadIdx.x, matrix = l / 8;
    uint32_t a[4];
    lb::load_columns(a, &words[l % 8 + matrix / 2 * 8][matrix % 2 * 4]);
    for (int e = 0; e < 4; e++) got[l][e] = a[e];
  });
  for (int l = 0; l < 32; l++)
    for (int e = 0; e < 8; e++) {
      uint32_t number = got[l][e / 2] >> e % 2 * 16 & 0xffffu;
      auto want = static_cast<uint32_t>(bf16_a.column(l, e) * 16 + bf16_a.row(l, e));
      if (number == want) continue;
      std::printf("columns: lane %d element %d: got %u, want %u\n", l, e, number, want);
      faults++;
    }
}

// check_rounding: cvt.rna.tf32 goes to the nearest number of 10 fraction bits, ties away from zero.
void check_rounding() {
  const float step = 1.0f / (1 << 10);
  const float cases[][2] = {{1, 1},
                            {1 + step, 1 + step},
                            {1 + step / 2, 1 + step},
                            {-1 - step / 2, -1 - step},
                            {1 + step * 0.4999f, 1},
                            {1 + step * 1.5f, 1 + 2 * step},
                            {2 - step / 2, 2}};
  for (const auto &c : cases) {
    uint32_t got = lb::to_tf32(c[0]);
    if (got == bits(c[1])) continue;
    std::printf("tf32: %.9g: got %08x, want %08x\n", static_cast<double>(c[0]), got, bits(c[1]));
    faults++;
  }
}

}  // namespace

int main() {
  check<float>("tf32", tf32_a, tf32_b);
  check<lb::bf16>("bf16", bf16_a, bf16_b);
  check_rows();
  check_columns();
  check_rounding();
  return faults > 0;
}
