// The transforms of F(4, 3), of one direction: four outputs of a filter of three from six products. F(4x4,
// 3x3) (winograd4.cc) applies them to columns and to rows, F(4, 3) (winograd_rows.cc) to rows alone.
//
//   y = At [ (G g) . (Bt d) ]   of inputs d and a filter g;   dg = Gt [ (A dy) . (Bt d) ], its adjoint
//
// The points of the interpolation are 0, +-2/3, +-3/2 and infinity: reciprocal pairs, for which the rounding
// error of F(4x4, 3x3) in f32 is half of that with the usual 0, +-1, +-2 (0.7e-6 and 1.5e-6 of the result).
#pragma once
#include "simd.h"

namespace lb {

#if defined(__x86_64__)

// Points a and b, their squares and cubes; N is the product of a point's distances to the other points.
constexpr float a1 = 2.0f / 3, a2 = 4.0f / 9, a3 = 8.0f / 27, b1 = 1.5f, b2 = 2.25f, b3 = 3.375f;
constexpr float sum2 = static_cast<float>(4.0 / 9 + 2.25);
constexpr float over_na = static_cast<float>(1 / (2 * (4.0 / 9) * (4.0 / 9 - 2.25)));
constexpr float over_nb = static_cast<float>(1 / (2 * 2.25 * (2.25 - 4.0 / 9)));

// here keeps what computes a vector, and what reads it, on either side of this place. GCC contracts a product
// and a sum to an FMA in the same basic block only: what is computed before a branch has to stay there, so
// that every instruction set rounds alike.
template <typename V>
LB_INLINE void here(V &v) {
  asm("" : "+v"(v));
}

// Elements of the operand are s apart, those of the result t.

// input_line: Bt d, 6 to 6. Elements are held in registers: GCC would load each of them again for every
// instruction that reads it, 15 loads for 6.
template <typename V>
LB_INLINE void input_line(const V *d, int s, V *e, int t) {
  V d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s];
  for (V *v : {&d1, &d2, &d3, &d4}) here(*v);
  V u = d4 - b2 * d2, v = d3 - b2 * d1;
  V x = d4 - a2 * d2, y = d3 - a2 * d1;
  e[0] = d0 + d4 - sum2 * d2;
  e[t] = u + a1 * v, e[2 * t] = u - a1 * v;
  e[3 * t] = x + b1 * y, e[4 * t] = x - b1 * y;
  e[5 * t] = d1 + d[5 * s] - sum2 * d3;
}

// output_line: At m, 6 to 4.
template <typename V>
LB_INLINE void output_line(const V *m, int s, V *e, int t) {
  V p = m[s] + m[2 * s], q = m[s] - m[2 * s], r = m[3 * s] + m[4 * s], u = m[3 * s] - m[4 * s];
  e[0] = m[0] + p + r;
  e[t] = a1 * q + b1 * u;
  e[2 * t] = a2 * p + b2 * r;
  e[3 * t] = m[5 * s] + a3 * q + b3 * u;
}

// gradient_line: A dy, 4 to 6.
template <typename V>
LB_INLINE void gradient_line(const V *d, int s, V *e, int t) {
  V p = d[0] + a2 * d[2 * s], q = a1 * d[s] + a3 * d[3 * s];
  V r = d[0] + b2 * d[2 * s], u = b1 * d[s] + b3 * d[3 * s];
  e[0] = d[0];
  e[t] = p + q, e[2 * t] = p - q;
  e[3 * t] = r + u, e[4 * t] = r - u;
  e[5 * t] = d[3 * s];
}

// filter_line: G g, 3 to 6.
template <typename V>
LB_INLINE void filter_line(const V *g, int s, V *e, int t) {
  V p = over_na * (g[0] + a2 * g[2 * s]), q = over_na * a1 * g[s];
  V r = over_nb * (g[0] + b2 * g[2 * s]), u = over_nb * b1 * g[s];
  e[0] = g[0];
  e[t] = p + q, e[2 * t] = p - q;
  e[3 * t] = r + u, e[4 * t] = r - u;
  e[5 * t] = g[2 * s];
}

// weight_line: Gt u, 6 to 3.
template <typename V>
LB_INLINE void weight_line(const V *m, int s, V *e, int t) {
  V p = over_na * (m[s] + m[2 * s]), q = over_na * (m[s] - m[2 * s]);
  V r = over_nb * (m[3 * s] + m[4 * s]), u = over_nb * (m[3 * s] - m[4 * s]);
  e[0] = m[0] + p + r;
  e[t] = a1 * q + b1 * u;
  e[2 * t] = m[5 * s] + a2 * p + b2 * r;
}

#endif

}  // namespace lb
