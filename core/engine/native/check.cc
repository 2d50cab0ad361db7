//go:build !nocpu

// Checks an op before a kernel is chosen for it: number and type of operands and results,
// shapes, ranges of attributes. Kernels rely on these checks.
#include "epilogue.h"
#include "gradients.h"
#include "prologue.h"

namespace lb {
namespace {

// row is a row of the table of kinds. Operands and results have a letter each: f f32, s s32, u u8, e f32 or
// bf16, t f32 or bf16 and the same type as every other t of the op. A capital letter marks an optional one;
// optional results are last. A last letter followed by + is that of one or more.
struct row {
  family of;
  const char *operands, *results;
};

const row &row_of(int32_t kind) {
  static const row rows[] = {{family::none, "", ""},
#define LB_KIND(name, number, of, operands, results) {family::of, operands, results},
                             LB_KINDS(LB_KIND)
#undef LB_KIND
  };
  static_assert(sizeof rows / sizeof *rows == kind_count, "the kinds are numbered without gaps");
  return rows[kind];
}

// fits says whether a type fits a letter; tensor is the type of the op's tensors, -1 before
// the first of them.
bool fits(int32_t type, char letter, int32_t &tensor) {
  bool number = type == type_f32 || type == type_bf16;
  switch (letter) {
    case 'e':
      return number;
    case 't':
      if (tensor < 0) tensor = type;
      return number && type == tensor;
  }
  return type < 3 && "fsu"[type] == letter;
}

void check_form(const std::vector<value *> &list, const char *letters, const char *what, int32_t &tensor) {
  size_t i = 0;
  for (size_t at = 0; letters[at] && (letters[at] != '+' || i < list.size()); i++) {
    char letter = letters[at] == '+' ? letters[at - 1] : letters[at++];
    bool optional = letter < 'a';
    char want = static_cast<char>(optional ? letter + 'a' - 'A' : letter);
    const value *v = i < list.size() ? list[i] : nullptr;
    if (!v && !optional) fail(LB_INVALID, "%s %zu is missing", what, i);
    if (v && !fits(v->type, want, tensor)) fail(LB_INVALID, "%s %zu has type %d", what, i, v->type);
  }
  if (list.size() > i) fail(LB_INVALID, "%zu %ss: at most %zu are allowed", list.size(), what, i);
}

void want(bool ok, const char *what) {
  if (!ok) fail(LB_INVALID, "invalid shapes or attributes, required: %s", what);
}

bool same(const value *a, const value *b) {
  if (!a || !b) return true;
  for (int i = 0; i < 4; i++)
    if (a->dims[i] != b->dims[i]) return false;
  return a->rank == b->rank;
}

bool vector_of(const value *v, int64_t n) { return !v || (v->rank == 1 && v->dims[0] == n); }

// in_range bounds extents and attributes, so that a product of two does not overflow.
constexpr int64_t limit = int64_t{1} << 31;
bool in_range(int64_t low, int64_t n) { return low <= n && n < limit; }

void check_range(const value *v) {
  for (int i = 0; v && i < 4; i++) want(in_range(1, v->dims[i]), "extents below 2^31");
}

// check_norm_input checks the operands with which a convolution normalises its input x.
void check_norm_input(const op &o, const value &x) {
  size_t first = norm_input(o.kind), there = 0;
  for (size_t i = first; first > 0 && i < first + 4; i++) {
    there += o.operands[i] != nullptr;
    want(vector_of(o.operands[i], x.dims[3]), "one element a channel");
  }
  want(there == 0 || there == 4, "all of mean, variance, gamma and beta, or none");
  want(
      in_range(0, o.attr.activation) && o.attr.activation <= (there ? activation_hardswish : activation_none),
      "an activation that a normalisation can apply, and none without one");
}

void check_conv(const op &o, const value &x, const value &w, const value &y, const value *bias) {
  const attributes &a = o.attr;
  check_norm_input(o, x);
  want(x.rank == 4 && w.rank == 4 && y.rank == 4, "tensors of rank 4");
  want(in_range(1, a.groups) && x.dims[3] == w.dims[3] * a.groups && w.dims[0] % a.groups == 0,
       "channels that are multiples of the groups");
  want(x.dims[0] == y.dims[0] && y.dims[3] == w.dims[0] && vector_of(bias, w.dims[0]),
       "batches, channels and a bias that agree");
  for (int i = 0; i < 2; i++) {
    want(in_range(1, a.stride[i]) && in_range(1, a.dilation[i]) && in_range(0, a.padding[i]),
         "a stride and a dilation of at least 1, a padding of at least 0");
    int64_t span = x.dims[1 + i] + 2 * a.padding[i] - (w.dims[1 + i] - 1) * a.dilation[i] - 1;
    want(span >= 0 && y.dims[1 + i] == span / a.stride[i] + 1, "a result as high and wide as its windows");
  }
}

// check_statistics checks the operands and results of a convolution that computes the statistics of its
// result y.
void check_statistics(const op &o, const value &y) {
  bool there = computes_statistics(o);
  want(there == (o.operands[first_running + 1] != nullptr) && there == (o.results.size() == 3),
       "both running statistics and results for both, or none");
  if (o.results.size() == 1) return;
  want(o.results.size() == 3 && y.elements / y.channels() >= 2, "at least 2 values a channel");
  for (const value *v :
       {o.operands[first_running], o.operands[first_running + 1], o.results[1], o.results[2]})
    want(v && vector_of(v, y.channels()), "one element a channel");
}

void check_pool(const op &o, const value &x, const value &y) {
  const attributes &a = o.attr;
  bool adaptive = o.kind == kind_adaptive_average_pool || o.kind == kind_adaptive_average_pool_backward;
  bool largest = o.kind == kind_max_pool || o.kind == kind_max_pool_backward;
  want(x.rank == 4 && y.rank == 4 && x.dims[0] == y.dims[0] && x.dims[3] == y.dims[3],
       "tensors of rank 4 with the same batch and channels");
  for (int i = 0; i < 2; i++) {
    want(a.output[i] == y.dims[1 + i], "the output that the attributes name");
    want(x.dims[1 + i] <= 65536 && y.dims[1 + i] <= 65536, "images of at most 65536 x 65536");
    if (adaptive) continue;
    want(in_range(1, a.kernel[i]) && in_range(1, a.stride[i]) && in_range(0, a.padding[i]) &&
             2 * a.padding[i] <= a.kernel[i],
         "a kernel and stride of at least 1 and a padding of at most half the kernel");
    want((a.output[i] - 1) * a.stride[i] - a.padding[i] < x.dims[1 + i], "no window beyond the input");
  }
  want(!largest || a.kernel[0] * a.kernel[1] <= 255, "windows of at most 255 elements");
}

void check_coefficients(const value &v, int64_t channels) {
  want(v.rank == 2 && v.dims[0] == coefficient_count && v.dims[1] == channels,
       "five coefficients for each channel");
}

void check_norm(const op &o) {
  bool sums = o.kind == kind_norm_backward_sums;
  const value &x = *o.operands[o.kind == kind_norm_backward || sums ? 1 : 0];
  want(x.rank == 4 || x.rank == 2, "x of rank 4 or 2");
  want(in_range(0, o.attr.activation) && o.attr.activation <= activation_hardswish,
       "an activation that a normalisation can apply");
  int64_t c = x.channels();
  auto vectors = [&](const std::vector<value *> &list, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) want(vector_of(list[i], c), "one element a channel");
  };
  if (o.kind == kind_norm_stats) {
    vectors(o.operands, 1, 3), vectors(o.results, 0, 2);
    want(!o.operands[1] == !o.operands[2], "both running statistics or none");
    want(x.elements / c >= 2, "at least 2 values a channel");
    return;
  }
  if (o.kind == kind_norm_apply) {
    vectors(o.operands, 1, 5);
    want(same(&x, o.operands[5]) && same(&x, o.results[0]), "tensors of one shape");
    want(!o.operands[5] || o.attr.activation == activation_none || o.attr.rectifies(),
         "after a residual no activation, or one that rectifies");
    return;
  }
  size_t first = sums ? 0 : 1;
  vectors(o.operands, 2, 6), vectors(o.results, first, first + 2);
  bool residual = o.operands[6] != nullptr;
  want(residual == (o.results.size() == 4) && (!residual || o.attr.rectifies()),
       "a residual gradient if, and only if, there is a rectified result");
  want(same(&x, o.operands[0]) && same(&x, o.operands[6]) && same(&x, o.operands[7]) &&
           (sums || same(&x, o.results[0])) && (!residual || same(&x, o.results[3])),
       "tensors of one shape");
  if (sums) check_coefficients(*o.results[2], c);
}

void check_conv_norm_backward(const op &o) {
  const value &x = *o.operands[0], &w = *o.operands[1], &dy = *o.operands[2], &y = *o.operands[3];
  want(in_range(0, o.attr.following) && o.attr.following <= activation_hardswish,
       "an activation that a normalisation can apply");
  check_conv(o, x, w, y, nullptr);
  want(same(&dy, &y) && same(&x, o.results[0]) && same(&w, o.results[1]), "gradients of the tensors' shapes");
  check_coefficients(*o.operands[4], y.channels());
  want(o.results.size() == (o.attr.input_sums ? 5 : 2) && (!o.attr.input_sums || normalises_input(o)),
       "sums of the input's normalisation if, and only if, they are asked for and there is one");
  if (!o.attr.input_sums) return;
  want(vector_of(o.results[2], x.channels()) && vector_of(o.results[3], x.channels()),
       "one element a channel");
  check_coefficients(*o.results[4], x.channels());
}

// check_linear: x [rows in], w [out in], y [rows out]; x may have more dimensions, and with the attribute
// rows all but the last of x are those of y.
void check_linear(const op &o, const value &x, const value &w, const value &y, const value *bias) {
  if (o.attr.rows) {
    bool fit = w.rank == 2 && x.rank >= 2 && x.rank == y.rank && x.channels() == w.dims[1] &&
               y.channels() == w.dims[0] && vector_of(bias, w.dims[0]);
    for (int i = 0; i + 1 < x.rank; i++) fit = fit && x.dims[i] == y.dims[i];
    want(fit && in_range(1, x.elements / x.channels()), "rows x [... in], weight [out in], y [... out]");
    return;
  }
  want(w.rank == 2 && y.rank == 2 && x.rank >= 2 && x.dims[0] == y.dims[0] && w.dims[0] == y.dims[1] &&
           x.elements == x.dims[0] * w.dims[1] && vector_of(bias, w.dims[0]),
       "x [N in], weight [out in], y [N out]");
  want(in_range(1, x.elements / x.dims[0]), "extents below 2^31");
}

void check_loss(const op &o) {
  const value &scores = *o.operands[0];
  want(scores.rank == 2 && vector_of(o.operands[1], scores.dims[0]), "scores [N K] and labels [N]");
  if (o.kind == kind_cross_entropy_backward) {
    want(same(&scores, o.results[0]), "a gradient of the scores' shape");
    return;
  }
  want(vector_of(o.results[0], 1) && vector_of(o.results[1], 1) && same(&scores, o.results[2]),
       "a loss [1], a count [1] and probabilities [N K]");
}

void check_upsample(const value &x, const value &y) {
  want(x.rank == 4 && y.rank == 4 && x.dims[0] == y.dims[0] && x.dims[3] == y.dims[3],
       "tensors of rank 4 with the same batch and channels");
  for (int i = 1; i < 3; i++)
    want(x.dims[i] <= 65536 && y.dims[i] <= 65536, "images of at most 65536 x 65536");
}

// check_gate: x [N H W C], z [N 1 1 C].
void check_gate(const op &o, const value &x, const value &z) {
  int64_t a = o.attr.activation;
  want(a == activation_none || a == activation_sigmoid || a == activation_hardsigmoid,
       "no activation, a sigmoid or a hardsigmoid");
  want(x.rank == 4 && z.rank == 4 && z.dims[0] == x.dims[0] && z.dims[1] == 1 && z.dims[2] == 1 &&
           z.dims[3] == x.dims[3],
       "x of rank 4 and a gate for each sample and channel");
}

// check_rows: x, y and z of one shape, with a last dimension of as many elements as the vector v.
void check_rows(const value &x, const value &v, const value &y, const value &z) {
  want(x.rank >= 2 && vector_of(&v, x.channels()) && same(&x, &y) && same(&x, &z),
       "tensors of one shape, and vectors of one element a channel");
}

void check_deviation(const value &x, const value &y) {
  want(x.rank == 4 && x.dims[1] * x.dims[2] >= 2, "x of rank 4 with at least 2 positions");
  want(y.rank == 2 && y.dims[0] == x.dims[0] && y.dims[1] == x.dims[3], "one element a sample and channel");
}

// check_pairs. The limits keep the size of the workspace in range: a few numbers for each feature and sample.
void check_pairs(const op &o) {
  const value &x = *o.operands[0];
  want(x.rank == 2 && vector_of(o.operands[1], x.dims[0]), "features [N C] and labels [N]");
  want(x.dims[0] <= 65536 && x.dims[1] <= 65536, "at most 65536 samples and features");
  bool forward = o.kind == kind_similarity || o.kind == kind_contrast;
  want(forward ? vector_of(o.results[0], 1) : same(&x, o.results[0]),
       "a loss [1] or a gradient of the features");
  if (o.kind == kind_similarity || o.kind == kind_similarity_backward)
    want(in_range(2, o.attr.classes), "at least 2 classes");
  else
    want(o.attr.temperature > 0, "a temperature above 0");
  if (o.kind == kind_contrast) want(vector_of(o.results[1], x.dims[0]), "a logarithm a sample");
  if (o.kind == kind_contrast_backward) want(vector_of(o.operands[2], x.dims[0]), "a logarithm a sample");
}

// check_joined: x is of the shape of y, but for the axis. It returns the extent of x along the axis.
int64_t check_joined(const op &o, const value &x, const value &y) {
  want(in_range(0, o.attr.axis) && o.attr.axis < y.rank && x.rank == y.rank,
       "an axis of the values, which have the same rank");
  for (int64_t i = 0; i < 4; i++)
    want(i == o.attr.axis || x.dims[i] == y.dims[i], "values that differ along the axis only");
  return x.dims[o.attr.axis];
}

void check_concat(const op &o) {
  int64_t sum = 0;
  for (const value *x : o.operands) sum += check_joined(o, *x, *o.results[0]);
  want(sum == o.results[0]->dims[o.attr.axis], "a result as long as all operands");
}

// check_slice: y is the part of x from the offset on, sum as large as the result.
void check_slice(const op &o, const value &x, const value &y) {
  int64_t length = check_joined(o, y, x);
  want(in_range(0, o.attr.offset) && o.attr.offset + length <= x.dims[o.attr.axis],
       "a slice within the value");
  want(same(o.operands[1], o.results[0]), "a sum of the shape of the result");
}

void check_permute(const op &o) {
  int64_t elements = o.operands[0]->elements, left = elements;
  bool seen[4] = {};
  for (int i = 0; i < 4; i++) {
    int64_t extent = o.attr.view[i], from = o.attr.order[i];
    want(extent >= 1 && left % extent == 0, "a view of as many elements");
    left /= extent;
    want(from >= 0 && from < 4 && !seen[from], "an order of four dimensions");
    seen[from] = true;
  }
  want(left == 1 && o.results[0]->elements == elements, "a view and a result of as many elements");
}

void check_update(const op &o) {
  const auto &in = o.operands;
  const attributes &a = o.attr;
  bool adam = o.kind == kind_adam;
  want(same(in[0], in[1]) && same(in[0], in[2]), "a gradient and state of the parameter's shape");
  want(vector_of(in[adam ? 4 : 3], 1), "a learning rate [1]");
  want(a.epsilon >= 0 && a.weight_decay >= 0 && a.momentum >= 0 && a.momentum < 1,
       "a momentum of less than 1, and no constant below 0");
  want(a.beta1 >= 0 && a.beta1 < 1 && a.beta2 >= 0 && a.beta2 < 1, "averages that decay by less than 1");
  if (o.kind == kind_sgd) want(in[2] || a.momentum == 0, "state for the momentum");
  if (adam) want(same(in[0], in[3]) && vector_of(in[5], 3), "a second state and a stream of three words");
  if (o.kind == kind_rmsprop)
    want(same(in[0], in[4]) && (in[4] != nullptr) == (a.momentum != 0),
         "a momentum and its state, or neither");
}

void check_quantized(const op &o, const value &x, const value &packed, const value *ranges) {
  int64_t bits = o.attr.bits, groups = (x.elements + 255) / 256;
  want(bits == 1 || bits == 4 || bits == 8, "1, 4 or 8 bits an element");
  want(x.rank >= 1 && x.elements <= int64_t{1} << 34 && vector_of(&packed, groups * 32 * bits),
       "at most 2^34 elements in whole groups of 256");
  want((bits > 1) == (ranges != nullptr), "ranges for 4 and 8 bits only");
  if (ranges)
    want(ranges->rank == 2 && ranges->dims[0] == groups && ranges->dims[1] == 2, "two numbers a group");
}

const value *second_result(const op &o) { return o.results.size() > 1 ? o.results[1] : nullptr; }

}  // namespace

family family_of(int32_t kind) { return row_of(kind).of; }

void check(op &o) {
  if (o.kind <= kind_none || o.kind >= kind_count)
    fail(LB_UNSUPPORTED, "no kernel of kind %d, this backend knows 1 to %d", o.kind, kind_count - 1);
  const row &f = row_of(o.kind);
  int32_t tensor = -1;
  check_form(o.operands, f.operands, "operand", tensor);
  check_form(o.results, f.results, "result", tensor);
  for (size_t i = 0; f.operands[i] && f.operands[i] != '+'; i++)
    if (i >= o.operands.size()) o.operands.push_back(nullptr);
  for (const value *v : o.operands) check_range(v);
  for (const value *v : o.results) check_range(v);
  const auto &in = o.operands, &out = o.results;
  switch (o.kind) {
    case kind_conv:
      check_conv(o, *in[0], *in[1], *out[0], in[2]);
      return check_statistics(o, *out[0]);
    case kind_conv_backward_data:
      return check_conv(o, *out[0], *in[1], *in[0], nullptr);
    case kind_conv_backward_weights:
      return check_conv(o, *in[0], *out[0], *in[1], second_result(o));
    case kind_norm_stats:
    case kind_norm_apply:
    case kind_norm_backward:
    case kind_norm_backward_sums:
      return check_norm(o);
    case kind_conv_norm_backward:
      return check_conv_norm_backward(o);
    case kind_max_pool:
      want(same(out[0], out[1]), "an index of the result's shape");
      return check_pool(o, *in[0], *out[0]);
    case kind_average_pool:
    case kind_adaptive_average_pool:
      return check_pool(o, *in[0], *out[0]);
    case kind_max_pool_backward:
      want(same(in[0], in[1]), "an index of the gradient's shape");
      return check_pool(o, *out[0], *in[0]);
    case kind_average_pool_backward:
    case kind_adaptive_average_pool_backward:
      return check_pool(o, *out[0], *in[0]);
    case kind_linear:
      return check_linear(o, *in[0], *in[1], *out[0], in[2]);
    case kind_linear_backward_data:
      return check_linear(o, *out[0], *in[1], *in[0], nullptr);
    case kind_linear_backward_weights:
      return check_linear(o, *in[0], *out[0], *in[1], second_result(o));
    case kind_cross_entropy:
    case kind_cross_entropy_backward:
      return check_loss(o);
    case kind_upsample:
    case kind_upsample_backward:
      return check_upsample(*in[0], *out[0]);
    case kind_gate:
      want(same(in[0], out[0]), "a result of the shape of x");
      return check_gate(o, *in[0], *in[1]);
    case kind_gate_backward:
      want(same(in[0], in[1]) && same(in[1], out[0]) && same(in[2], out[1]),
           "gradients of the shapes of x and the gate");
      return check_gate(o, *in[1], *in[2]);
    case kind_scale:
      return check_rows(*in[0], *in[1], *out[0], *out[0]);
    case kind_scale_backward:
      want(same(in[2], out[1]), "a gradient of the factors' shape");
      return check_rows(*in[1], *in[2], *in[0], *out[0]);
    case kind_layer_norm:
      want(o.attr.epsilon > 0 && same(in[1], in[2]), "an epsilon above 0, gamma and beta of one shape");
      return check_rows(*in[0], *in[1], *out[0], *out[0]);
    case kind_layer_norm_backward:
      want(o.attr.epsilon > 0 && same(in[2], out[1]) && same(in[2], out[2]),
           "an epsilon above 0, gradients of gamma's shape");
      return check_rows(*in[1], *in[2], *in[0], *out[0]);
    case kind_binary_cross_entropy:
      return want(same(in[0], in[1]) && vector_of(out[0], 1), "images of the logits' shape and a loss [1]");
    case kind_deviation:
      return check_deviation(*in[0], *out[0]);
    case kind_deviation_backward:
      want(same(in[1], out[0]) && same(in[0], in[2]), "gradients of the shapes of x and y");
      return check_deviation(*in[1], *in[0]);
    case kind_similarity:
    case kind_similarity_backward:
    case kind_contrast:
    case kind_contrast_backward:
      return check_pairs(o);
    case kind_average:
      return want(same(in[0], in[1]), "an average and a source of one shape");
    case kind_sgd:
    case kind_adam:
    case kind_rmsprop:
    case kind_adagrad:
      return check_update(o);
    case kind_augment:
      want(in[0]->rank == 4 && same(in[0], out[0]) && in[1]->rank == 2 && in[1]->dims[0] == in[0]->dims[0] &&
               in[1]->dims[1] == 4,
           "images of rank 4, a result of their shape and four words a sample");
      for (int i = 1; i < 3; i++)
        want(in[0]->dims[i] <= 65536 && in_range(0, o.attr.padding[0]) &&
                 o.attr.padding[0] < (o.attr.reflect ? in[0]->dims[i] : 65536),
             "a padding within the image, which is at most 65536 x 65536");
      return;
    case kind_dropout:
      want(same(in[0], out[0]) && in[0]->rank >= 1 && vector_of(in[1], 3),
           "a result of the shape of x and a stream of three words");
      return want(o.attr.rate > 0 && o.attr.rate < 1 && o.attr.salt >= 0 && o.attr.salt <= UINT32_MAX &&
                      in[0]->elements <= int64_t{1} << 34,
                  "a rate between 0 and 1, a salt of 32 bits and at most 2^34 elements");
    case kind_concat:
      return check_concat(o);
    case kind_slice:
      return check_slice(o, *in[0], *out[0]);
    case kind_slice_backward:
      return check_slice(o, *out[0], *in[0]);
    case kind_permute:
      return check_permute(o);
    case kind_reshape:
      return want(in[0]->elements == out[0]->elements, "a result of as many elements");
    case kind_quantize:
      want(o.attr.bits == 1 ? !in[1] && o.attr.rectifies() : in[1] && vector_of(in[1], 3),
           "an activation that rectifies for 1 bit, else a stream of three words");
      want(o.attr.salt >= 0 && o.attr.salt <= UINT32_MAX, "a salt of 32 bits");
      return check_quantized(o, *in[0], *out[0], second_result(o));
    case kind_dequantize:
      return check_quantized(o, *out[0], *in[0], in[1]);
    case kind_normalize_image:
      want(in[0]->rank == 4 && in[0]->dims[3] <= 4, "an image of rank 4 with at most 4 channels");
      break;
    case kind_relu:
    case kind_relu_backward:
      want(o.attr.rectifies(), "an activation that rectifies");
      break;
    case kind_activate:
    case kind_activate_backward:
      want(o.attr.activation > activation_silu && o.attr.activation < activation_count,
           "an activation from hardswish to gelu_tanh");
      break;
    case kind_cast:
      want(in[0]->type != out[0]->type, "two types");
      break;
  }
  for (const value *v : in) want(same(v, out[0]), "tensors of one shape");
}

}  // namespace lb
