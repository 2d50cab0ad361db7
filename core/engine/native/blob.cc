//go:build !nocpu

// The encoding of a program: one blob of little-endian fields, written by
// core/engine/blob.go.
//
//   u32 magic "PROG", u32 version, u64 values, u64 ops
//   a value: i32 type, i32 rank, i64 extents[4], those beyond the rank 1
//   an op:   i32 kind, u32 n, i64 operands[n] (-1: absent), u32 m, i64 results[m],
//            attributes: 38 x i64, 16 x f64, in the order of struct attributes,
//            i32 stream, u32 w, i64 waits[w]: earlier ops of other streams
//
// Nothing in it is trusted: every count, id and extent is checked here, and every
// op in check.cc.
#include <cstring>

#include "program.h"

namespace lb {
namespace {

// reader takes little-endian fields off the blob and never runs past its end.
class reader {
 public:
  reader(const uint8_t *data, uint64_t bytes) : data_(data), left_(bytes) {}
  template <typename T>
  T take() {
    if (left_ < sizeof(T)) fail(LB_INVALID, "program: ends in the middle of a field");
    T x;
    std::memcpy(&x, data_, sizeof(T));
    data_ += sizeof(T);
    left_ -= sizeof(T);
    return x;
  }
  uint64_t left() const { return left_; }

 private:
  const uint8_t *data_;
  uint64_t left_;
};

constexpr uint64_t value_bytes = 4 + 4 + 4 * 8;
constexpr uint64_t op_bytes =
    4 + 4 + 4 + sizeof(attributes) + 4 + 4;  // of an op without operands, results and waits
static_assert(sizeof(attributes) == 38 * 8 + 16 * 8,
              "attributes have no padding and the fields listed above");

value read_value(reader &r) {
  value v;
  v.type = r.take<int32_t>();
  v.rank = r.take<int32_t>();
  if (v.type < 0 || v.type >= type_count || v.rank < 0 || v.rank > 4)
    fail(LB_INVALID, "program: value of type %d and rank %d: must be 0..%d and 0..4", v.type, v.rank,
         type_count - 1);
  for (int i = 0; i < 4; i++) {
    int64_t d = r.take<int64_t>();
    if (d < 1 || (i >= v.rank && d != 1) || v.elements > INT64_MAX / 8 / d)
      fail(LB_INVALID, "program: extent %lld of a value is out of range", static_cast<long long>(d));
    v.dims[i] = d;
    v.elements *= d;
  }
  constexpr int64_t sizes[type_count] = {4, 4, 1, 2};
  v.bytes = v.elements * sizes[v.type];
  return v;
}

attributes read_attributes(reader &r) {
  attributes a;
  int64_t *whole[] = {a.kernel, a.stride, a.padding, a.output, a.dilation};
  for (int64_t *pair : whole)
    for (int i = 0; i < 2; i++) pair[i] = r.take<int64_t>();
  for (int64_t &x : a.input) x = r.take<int64_t>();
  for (int64_t *x : {&a.groups, &a.activation, &a.bias, &a.count_padding, &a.nesterov, &a.reflect, &a.flip,
                     &a.classes, &a.rows, &a.salt, &a.axis, &a.offset})
    *x = r.take<int64_t>();
  for (int64_t &x : a.view) x = r.take<int64_t>();
  for (int64_t &x : a.order) x = r.take<int64_t>();
  for (int64_t *x : {&a.decoupled, &a.bits, &a.following, &a.input_sums}) *x = r.take<int64_t>();
  for (double *x :
       {&a.epsilon, &a.momentum, &a.weight_decay, &a.scale, &a.temperature, &a.rate, &a.beta1, &a.beta2})
    *x = r.take<double>();
  for (double &x : a.mean) x = r.take<double>();
  for (double &x : a.deviation) x = r.take<double>();
  return a;
}

// read_list takes the ids of an op's operands or results.
std::vector<value *> read_list(reader &r, std::vector<value> &values, bool optional) {
  uint32_t n = r.take<uint32_t>();
  if (n > 1024) fail(LB_INVALID, "program: %u operands or results: at most 1024 are allowed", n);
  std::vector<value *> list;
  for (uint32_t i = 0; i < n; i++) {
    int64_t id = r.take<int64_t>();
    if (id == -1 && optional) {
      list.push_back(nullptr);
      continue;
    }
    if (id < 0 || static_cast<uint64_t>(id) >= values.size())
      fail(LB_INVALID, "program: value %lld: it has %zu", static_cast<long long>(id), values.size());
    list.push_back(&values[static_cast<size_t>(id)]);
  }
  return list;
}

// read_stream reads the stream of op number at and the ops that it waits for.
void read_stream(reader &r, std::vector<op> &ops, int32_t at) {
  op &o = ops[static_cast<size_t>(at)];
  o.stream = r.take<int32_t>();
  uint32_t n = r.take<uint32_t>();
  if (o.stream < 0 || o.stream >= max_streams || n >= static_cast<uint32_t>(max_streams))
    fail(LB_INVALID, "program: stream %d with %u waits: streams are 0 to %d, with at most one wait for each",
         o.stream, n, max_streams - 1);
  for (uint32_t i = 0; i < n; i++) {
    int64_t w = r.take<int64_t>();
    if (w < 0 || w >= at || ops[static_cast<size_t>(w)].stream == o.stream)
      fail(LB_INVALID, "program: waits for op %lld: must be an earlier op of another stream",
           static_cast<long long>(w));
    o.waits.push_back(static_cast<uint64_t>(w));
  }
}

}  // namespace

void read_program(const uint8_t *blob, uint64_t bytes, std::vector<value> &values, std::vector<op> &ops,
                  int32_t &at) {
  if (!blob) fail(LB_INVALID, "program: missing");
  reader r(blob, bytes);
  if (r.take<uint32_t>() != 0x474f5250u) fail(LB_INVALID, "program: does not begin with PROG");
  uint32_t version = r.take<uint32_t>();
  if (version != LB_BLOB_VERSION)
    fail(LB_INVALID, "program: version %u, this backend reads version %u", version, LB_BLOB_VERSION);
  uint64_t value_count = r.take<uint64_t>(), op_count = r.take<uint64_t>();
  // This bounds allocations by a small multiple of the size of the blob.
  if (value_count > r.left() / value_bytes || op_count > r.left() / op_bytes || op_count > INT32_MAX)
    fail(LB_INVALID, "program: counts beyond its size");
  values.reserve(value_count);
  for (uint64_t i = 0; i < value_count; i++) values.push_back(read_value(r));
  ops.resize(op_count);
  for (op &o : ops) {
    at++;
    o.kind = r.take<int32_t>();
    o.operands = read_list(r, values, true);
    o.results = read_list(r, values, false);
    o.attr = read_attributes(r);
    read_stream(r, ops, at);
    check(o);
  }
  at = -1;
  if (r.left() != 0)
    fail(LB_INVALID, "program: %llu bytes after its end", static_cast<unsigned long long>(r.left()));
}

}  // namespace lb
