// The device of the CUDA backend: memory, copies, and running a program.
//
// A range of ops is launched op by op the first time, which loads kernels; op by op with timing
// events the second time, which gives each op's share of the time; and from the third time on as one
// CUDA graph. An op's seconds in a replay are its share of the replay's time. Only reads and settle
// wait for the device: run returns when the work is queued.
// Ops of several streams run concurrently: streams.h.
#include <algorithm>
#include <cstring>
#include <map>

#include "gpu.h"
#include "streams.h"

namespace lb {

const char *const backend_name =
#ifdef LB_EMU
    "emu";
#else
    "cuda";
#endif

namespace {

bool lost(cudaError_t e) {
#ifdef LB_EMU
  (void)e;
  return false;
#else
  return e == cudaErrorIllegalAddress || e == cudaErrorLaunchFailure || e == cudaErrorHardwareStackError ||
         e == cudaErrorIllegalInstruction || e == cudaErrorMisalignedAddress ||
         e == cudaErrorInvalidAddressSpace || e == cudaErrorInvalidPc || e == cudaErrorAssert ||
         e == cudaErrorLaunchTimeout || e == cudaErrorECCUncorrectable;
#endif
}

std::string version(int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); }

// uuid_of formats a UUID as nvidia-smi prints it.
std::string uuid_of(const cudaDeviceProp &p) {
  char text[64];
  const auto *b = reinterpret_cast<const unsigned char *>(p.uuid.bytes);
  std::snprintf(text, sizeof text, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
                b[15]);
  return text;
}

int devices() {
  int n = 0, driver = 0;
  checked(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
#ifndef LB_EMU
  int runtime = 0;
  checked(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  if (driver == 0) fail(LB_UNSUPPORTED, "no NVIDIA driver: libcuda.so.1 is missing");
  if (driver / 1000 < runtime / 1000)
    fail(LB_UNSUPPORTED, "the driver supports CUDA %s, this backend needs at least %d.0",
         version(driver).c_str(), runtime / 1000);
#endif
  cudaError_t e = cudaGetDeviceCount(&n);
  if (e == cudaErrorNoDevice || (e == cudaSuccess && n == 0)) fail(LB_UNSUPPORTED, "no CUDA device found");
  checked(e, "cudaGetDeviceCount");
  return n;
}

// allocation is the memory of an arena: one cudaMalloc.
struct allocation : memory {
  explicit allocation(uint64_t n) {
    if (n == 0) return;
    void *p = nullptr;
    cudaError_t e = cudaMalloc(&p, n);
    if (e == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // as in checked
      size_t have = 0, all = 0;
      checked(cudaMemGetInfo(&have, &all), "cudaMemGetInfo");
      throw failure{LB_OUT_OF_MEMORY, "cudaMalloc failed: out of memory", n, have};
    }
    checked(e, "cudaMalloc");
    data = static_cast<uint8_t *>(p), bytes = n;
  }
  void release() override {
    if (data) cudaFree(data);
    data = nullptr;
  }
  ~allocation() override { release(); }
};

// scattered is an arena with a separate allocation for every offset, so that compute-sanitizer sees accesses
// beyond the end of a value. Two programs that use the same offset share the allocation.
struct scattered : allocation {
  std::map<uint64_t, std::unique_ptr<allocation>> places;
  uint64_t planned;
  explicit scattered(uint64_t n) : allocation(64), planned(n) { bytes = n; }
  uint8_t *place(uint64_t offset, uint64_t size) override {
    if (offset % 64 != 0 || offset > planned || size > planned - offset)
      fail(LB_INVALID,
           "%llu bytes at offset %llu are outside of the arena of %llu bytes, or the offset is no multiple "
           "of 64",
           static_cast<unsigned long long>(size), static_cast<unsigned long long>(offset),
           static_cast<unsigned long long>(planned));
    auto &p = places[offset];
    uint64_t rounded = (size + 63) / 64 * 64;
    if (p && p->bytes != rounded)
      fail(LB_INVALID, "scattered arena: %llu and %llu bytes at the same offset %llu",
           static_cast<unsigned long long>(p->bytes), static_cast<unsigned long long>(rounded),
           static_cast<unsigned long long>(offset));
    if (!p) {
      p = std::make_unique<allocation>(rounded);
      // Vector accesses of 16 bytes may reach into the padding; its content does not matter.
      if (size < rounded) checked(cudaMemset(p->data + size, 0, rounded - size), "cudaMemset");
      checked(cudaDeviceSynchronize(),
              "cudaDeviceSynchronize");  // our streams do not wait for the default one
    }
    return p->data;
  }
  bool whole() const override { return false; }
  void release() override {
    places.clear();
    allocation::release();
  }
};

struct range {
  int runs = 0;
  std::vector<double> shares;  // by op
  cudaGraphExec_t graph = nullptr;
};

// replay is a launched graph, with events before and after it.
struct replay {
  range *of;
  uint64_t first;
  cudaEvent_t begin, end;
};

struct gpu_program : program {
  std::map<std::pair<uint64_t, uint64_t>, range> ranges;
  std::vector<replay> replays;
  std::vector<cudaEvent_t> spare;
  std::map<const value *, int64_t> classes;  // number of classes, by value of labels
  std::map<const value *, size_t> outputs;   // scalar results that no op reads: their index in numbers
  float *numbers = nullptr;                  // the outputs, in pinned host memory
  cudaEvent_t gathered = nullptr;
  std::map<const value *, uint64_t>
      batch;                     // inputs that only one of the first ops reads: the index of the op
  uint64_t head = 0;             // the op after the last of these
  cudaEvent_t taken = nullptr;   // recorded after the head: the batch has been read
  bool early = false;            // the last run that read the batch recorded taken afterwards
  cudaEvent_t copied = nullptr;  // recorded after the copies of the next batch
  bool pending = false;          // copies of the next batch are queued
  stream_events events;

  cudaEvent_t event() {
    cudaEvent_t e = nullptr;
    if (spare.empty()) {
      checked(cudaEventCreateWithFlags(&e, cudaEventDefault), "cudaEventCreateWithFlags");
      return e;
    }
    e = spare.back();
    spare.pop_back();
    return e;
  }
  void forget() {  // drop graphs that were captured with other addresses
    for (auto &r : ranges)
      if (r.second.graph) cudaGraphExecDestroy(r.second.graph);
    for (auto &r : replays) spare.push_back(r.begin), spare.push_back(r.end);
    ranges.clear(), replays.clear();
  }
  ~gpu_program() override {
    forget();
    for (cudaEvent_t e : spare) cudaEventDestroy(e);
    for (cudaEvent_t e : {gathered, taken, copied})
      if (e) cudaEventDestroy(e);
    if (numbers) cudaFreeHost(numbers);
  }
};

gpu_program &mine(program &p) { return static_cast<gpu_program &>(p); }

// catch_up lets a stream wait for the copies of the next batch, which run on another stream.
void catch_up(gpu_program &p, cudaStream_t stream) {
  if (p.pending) checked(cudaStreamWaitEvent(stream, p.copied, 0), "cudaStreamWaitEvent");
  p.pending = false;
}

bool overlap(const uint8_t *a, int64_t n, const uint8_t *b, int64_t m) { return a < b + m && b < a + n; }

// find_batch finds the inputs that can be overwritten while the rest of the program runs: only one of the
// first ops reads them, and no other value or workspace shares their memory.
void find_batch(gpu_program &p) {
  constexpr uint64_t most = 4;
  p.batch.clear(), p.head = 0, p.pending = p.early = false;
  std::map<const value *, uint64_t> reader;
  std::map<const value *, int> uses;
  for (uint64_t i = 0; i < p.ops.size(); i++) {
    for (const value *v : p.ops[i].operands) uses[v]++, reader.emplace(v, i);
    for (const value *v : p.ops[i].results) uses[v] += 2;
  }
  for (const auto &r : reader) {
    const value *v = r.first;
    if (!v || r.second >= most || uses[v] != 1) continue;
    bool alone = true;
    for (const value &w : p.values)
      if (&w != v && w.data && overlap(v->data, v->bytes, w.data, w.bytes)) alone = false;
    for (const op &o : p.ops)
      if (o.scratch && overlap(v->data, v->bytes, o.scratch, static_cast<int64_t>(o.work->scratch)))
        alone = false;
    if (!alone) continue;
    p.batch[v] = r.second;
    p.head = std::max(p.head, r.second + 1);
  }
}

// group is how many ops from i on run as one: of one stream, and only the first may wait.
size_t group(const program &p, uint64_t i, uint64_t last) {
  auto joins = [&](const op &o) {
    return updates_alike(p.ops[i], o) && o.stream == p.ops[i].stream && o.waits.empty();
  };
  size_t n = 1;
  while (i + n < last && joins(p.ops[i + n])) n++;
  return n;
}

void run_group(program &p, uint64_t i, size_t n, gpu &d) {
  if (n > 1)
    update_many(&p.ops[i], n, d);
  else
    p.ops[i].work->run(p.ops[i]);
}

}  // namespace

void checked(cudaError_t e, const char *doing) {
  if (e == cudaSuccess) return;
  cudaGetLastError();  // clears the error: the next launch would report it
  fail(e == cudaErrorMemoryAllocation ? LB_OUT_OF_MEMORY
       : lost(e)                      ? LB_DEVICE_LOST
                                      : LB_INTERNAL,
       "CUDA: %s: %s", doing, cudaGetErrorString(e));
}

std::string probe() {
  int n = devices(), driver = 0, runtime = 0;
  checked(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  checked(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  std::string names;
  for (int i = 0; i < n; i++) {
    cudaDeviceProp properties;
    checked(cudaGetDeviceProperties(&properties, i), "cudaGetDeviceProperties");
    names += "device" + std::to_string(i) + "=" + properties.name + "\n";
  }
  return names + "driver=" + version(driver) + "\nruntime=" + version(runtime) + "\n" + describe_libraries();
}

std::unique_ptr<device> open_device(const lb_options &o) { return std::make_unique<gpu>(o); }

gpu::gpu(const lb_options &o)
    : planning(o.device == LB_NO_DEVICE),
      tf32(o.precision == LB_TF32),
      deterministic(o.deterministic != 0),
      tune(o.tune != 0),
      own(o.own != 0),
      workspace_limit(o.workspace_limit),
      plan_book(o.plan_book ? o.plan_book : ""),
      properties(o.properties ? o.properties : ""),
      index_(o.device),
      scatter_(o.scatter != 0) {
  if (o.precision != LB_F32 && o.precision != LB_TF32)
    fail(LB_INVALID, "precision %d: must be 0 or 1", o.precision);
  if (planning) {
    if (tune) fail(LB_INVALID, "tuning needs a device: none was opened");
    name_ = "none";
    library = open_libraries(*this);
    return;
  }
  int n = devices();
  if (index_ < 0 || index_ >= n) fail(LB_INVALID, "device %d: the devices are 0 to %d", index_, n - 1);
  checked(cudaSetDevice(index_), "cudaSetDevice");
  cudaDeviceProp properties;
  checked(cudaGetDeviceProperties(&properties, index_), "cudaGetDeviceProperties");
  name_ = properties.name;
  uuid_ = uuid_of(properties);
#ifndef LB_EMU
  if (properties.major < 8)
    fail(LB_UNSUPPORTED, "%s has compute capability %d.%d, this backend needs at least 8.0", properties.name,
         properties.major, properties.minor);
#endif
  checked(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  checked(cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  streams_ = {stream};
  constexpr size_t bytes = sizeof(unsigned) * max_streams;
  void *p = nullptr;
  checked(cudaMalloc(&p, bytes), "cudaMalloc");
  counters_ = static_cast<unsigned *>(p);
  checked(cudaMemset(counters_, 0, bytes), "cudaMemset");
  checked(cudaDeviceSynchronize(), "cudaDeviceSynchronize");  // our streams do not wait for the default one
  note_memory("context");
  library = open_libraries(*this);
  note_memory("handles");
}

gpu::~gpu() {
  if (!stream) return;
  cudaStreamSynchronize(stream);
  if (copies_) cudaStreamSynchronize(copies_);
  library = nullptr;
  for (slot &s : slots_) {
    if (s.free) cudaEventDestroy(s.free);
    if (s.data) cudaFreeHost(s.data);
  }
  if (copies_) cudaStreamDestroy(copies_);
  if (counters_) cudaFree(counters_);
  for (cudaStream_t s : streams_) cudaStreamDestroy(s);
}

// note_memory records the used memory of the device after a stage; a stage that is reached again overwrites
// it.
void gpu::note_memory(const char *stage) {
  size_t have = 0, all = 0;
  checked(cudaMemGetInfo(&have, &all), "cudaMemGetInfo");
  auto found = std::find_if(setup_memory_.begin(), setup_memory_.end(),
                            [&](const auto &r) { return r.first == stage; });
  if (found == setup_memory_.end()) found = setup_memory_.insert(setup_memory_.end(), {stage, 0});
  found->second = all - have;
}

std::string gpu::describe() {
  std::string text = "device=" + name_ + "\n" + describe_libraries() + notes_of(*this);
  if (planning) return text;
  size_t have = 0, all = 0;
  checked(cudaMemGetInfo(&have, &all), "cudaMemGetInfo");
  text += "uuid=" + uuid_ + "\nfree=" + std::to_string(have) + "\nproperties=" + properties + "\n";
  if (ran_) note_memory("steady");
  for (const auto &r : setup_memory_)
    text += "setup_memory." + r.first + "=" + std::to_string(r.second) + "\n";
  return text;
}

std::unique_ptr<program> gpu::new_program() { return std::make_unique<gpu_program>(); }

std::unique_ptr<kernel> gpu::choose(const op &o) {
  if (computes_statistics(o)) {
    auto both = std::make_unique<then_statistics>(
        o, [&](const op &inner) { return choose(inner); }, *this);
    // Our own kernel computes the statistics, unless a bias is added to what it stores.
    if (both->conv.work->name == own_convolution && !o.operands[2]) return make_mma_conv(o, *this);
    return both;
  }
  if (auto parts = make_split(o, *this)) return parts;
  switch (family_of(o.kind)) {
    case family::none:
      break;
#define LB_CHOOSE(name) \
  case family::name:    \
    return make_##name(o, *this);
      LB_FAMILIES(LB_CHOOSE)
#undef LB_CHOOSE
  }
  fail(LB_UNSUPPORTED, "the %s backend has no kernel of kind %d", backend_name, o.kind);
}

std::shared_ptr<memory> gpu::allocate(uint64_t bytes) {
  if (planning) fail(LB_UNSUPPORTED, "no device was opened: it can plan, but not allocate memory");
  note_memory("plans");
  std::shared_ptr<memory> m;
  if (scatter_)
    m = std::make_shared<scattered>(bytes);
  else
    m = std::make_shared<allocation>(bytes);
  note_memory("arena");
  return m;
}

void gpu::fill(memory &m, uint8_t pattern) {
  if (!m.whole()) fail(LB_UNSUPPORTED, "a scattered arena cannot be filled");
  checked(cudaMemsetAsync(m.data, pattern, m.bytes, stream), "cudaMemsetAsync");
}

void gpu::bound(program &base) {
  gpu_program &p = mine(base);
  p.forget();
  p.events.make(p.ops);
  while (streams_.size() < p.events.joined.size()) {
    cudaStream_t s = nullptr;
    checked(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    streams_.push_back(s);
  }
  p.classes.clear(), p.outputs.clear();
  find_batch(p);
  std::map<const value *, bool> read;
  for (const op &o : p.ops) {
    for (const value *v : o.operands) read[v] = true;
    if (o.kind == kind_cross_entropy || o.kind == kind_cross_entropy_backward)
      p.classes[o.operands[1]] = o.operands[0]->dims[1];
    if (o.kind == kind_similarity || o.kind == kind_similarity_backward)
      p.classes[o.operands[1]] = o.attr.classes;
  }
  for (const op &o : p.ops)
    for (const value *v : o.results)
      if (v && v->elements == 1 && v->type == type_f32 && !read[v]) p.outputs.emplace(v, p.outputs.size());
  if (p.numbers) cudaFreeHost(p.numbers);
  p.numbers = nullptr;
  if (p.outputs.empty()) return;
  void *host = nullptr;
  checked(cudaHostAlloc(&host, p.outputs.size() * sizeof(float), cudaHostAllocDefault), "cudaHostAlloc");
  p.numbers = static_cast<float *>(host);
}

void gpu::copy_out(void *to, const uint8_t *from, uint64_t bytes) {
  checked(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream), "cudaMemcpyAsync");
  checked(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}

// read takes outputs of the last run from pinned host memory, where one kernel has gathered them.
void gpu::read(program &base, const value &v, uint64_t offset, void *to, uint64_t bytes) {
  gpu_program &p = mine(base);
  auto found = p.outputs.find(&v);
  catch_up(p, stream);
  if (!p.gathered || found == p.outputs.end()) return copy_out(to, v.data + offset, bytes);
  checked(cudaEventSynchronize(p.gathered), "cudaEventSynchronize");
  std::memcpy(to, p.numbers + found->second, sizeof(float));
}

// write goes through a ring of pinned buffers, and does not wait for the device.
void gpu::write(program &base, value &v, uint64_t offset, const void *from, uint64_t bytes) {
  gpu_program &p = mine(base);
  auto labels = p.classes.find(&v);
  for (uint64_t i = 0; labels != p.classes.end() && i < bytes / sizeof(int32_t); i++) {
    int32_t label = static_cast<const int32_t *>(from)[i];
    if (label < 0 || label >= labels->second)
      fail(LB_INVALID, "label %d of sample %llu: the classes are 0 to %lld", label,
           static_cast<unsigned long long>(offset / sizeof(int32_t) + i),
           static_cast<long long>(labels->second - 1));
  }
  // Inputs that the running program has already read are copied on a stream of their own.
  bool beside = p.batch.count(&v) != 0 && last_ == &p && p.early;
  cudaStream_t to = beside ? copies_ : stream;
  if (beside)
    checked(cudaStreamWaitEvent(to, p.taken, 0), "cudaStreamWaitEvent");
  else
    catch_up(p, stream);
  slot &s = slots_[next_];
  next_ = (next_ + 1) % slot_count;
  if (!s.free) checked(cudaEventCreateWithFlags(&s.free, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  checked(cudaEventSynchronize(s.free), "cudaEventSynchronize");
  if (s.bytes < bytes) {
    if (s.data) checked(cudaFreeHost(s.data), "cudaFreeHost");
    s.data = nullptr, s.bytes = 0;
    void *host = nullptr;
    checked(cudaHostAlloc(&host, bytes, cudaHostAllocDefault), "cudaHostAlloc");
    s.data = static_cast<uint8_t *>(host), s.bytes = bytes;
  }
  std::memcpy(s.data, from, bytes);
  checked(cudaMemcpyAsync(v.data + offset, s.data, bytes, cudaMemcpyHostToDevice, to), "cudaMemcpyAsync");
  checked(cudaEventRecord(s.free, to), "cudaEventRecord");
  if (!beside) return;
  if (!p.copied)
    checked(cudaEventCreateWithFlags(&p.copied, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  checked(cudaEventRecord(p.copied, to), "cudaEventRecord");
  p.pending = true;
}

// eager launches ops one by one. With seconds it uses one stream, times each op and waits for the last.
void gpu::eager(program &p, uint64_t first, uint64_t last, int32_t &at, std::vector<double> *seconds) {
  std::vector<cudaEvent_t> marks;
  auto mark = [&] {
    if (!seconds) return;
    marks.push_back(mine(p).event());
    checked(cudaEventRecord(marks.back(), stream), "cudaEventRecord");
  };
  constexpr uint64_t submitting = 20'000;  // ns that the host takes for an op, at the most
  if (seconds) hold((last - first + 2) * submitting, *this);
  mark();
  fan branches(*this, p, mine(p).events, first);
  std::vector<size_t> sizes;
  for (uint64_t i = first; i < last; i += sizes.back()) {
    at = static_cast<int32_t>(i);
    sizes.push_back(group(p, i, last));
    if (!seconds) branches.enter(i);
    run_group(p, i, sizes.back(), *this);
    if (!seconds) branches.leave(i, sizes.back());
    mark();
  }
  branches.join();
  if (!seconds) return;
  checked(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  seconds->clear();
  for (size_t k = 0; k < sizes.size(); k++) {
    float ms = 0;
    checked(cudaEventElapsedTime(&ms, marks[k], marks[k + 1]), "cudaEventElapsedTime");
    for (size_t i = 0; i < sizes[k]; i++) seconds->push_back(ms * 1e-3 / static_cast<double>(sizes[k]));
  }
  for (cudaEvent_t e : marks) mine(p).spare.push_back(e);
}

cudaGraphExec_t gpu::capture(program &p, uint64_t first, uint64_t last, int32_t &at) {
  checked(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  cudaGraph_t graph = nullptr;
  try {
    eager(p, first, last, at, nullptr);
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();  // clears the error that invalidated the capture
    throw;
  }
  checked(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  cudaGraphExec_t exec = nullptr;
  cudaError_t e = cudaGraphInstantiate(&exec, graph, 0);
  cudaGraphDestroy(graph);
  checked(e, "cudaGraphInstantiate");
  checked(cudaGraphUpload(exec, stream), "cudaGraphUpload");
  return exec;
}

void gpu::run(program &base, uint64_t first, uint64_t last, int32_t &at) {
  gpu_program &p = mine(base);
  range &r = p.ranges[{first, last}];
  catch_up(p, stream);
  // The ops that read the batch are not in the graph: after them the next batch may be copied.
  uint64_t from = first == 0 && p.head < last ? p.head : first;
  bool alone = last - from < 2;  // one op needs no graph
  bool replayed = r.runs > 1 && !alone, timed = r.runs == 1 || alone;
  bool captured = replayed && !r.graph;
  if (captured) r.graph = capture(p, from, last, at);
  if (p.replays.size() >= 64) settle(p);
  replay q{&r, first, replayed ? p.event() : nullptr, replayed ? p.event() : nullptr};
  if (replayed) checked(cudaEventRecord(q.begin, stream), "cudaEventRecord");
  std::vector<double> head, rest;
  eager(p, first, from, at, timed ? &head : nullptr);
  if (from > first) {
    if (!p.taken)
      checked(cudaEventCreateWithFlags(&p.taken, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    checked(cudaEventRecord(p.taken, stream), "cudaEventRecord");
  }
  if (first < p.head) p.early = from > first;
  if (replayed) {
    checked(cudaGraphLaunch(r.graph, stream), "cudaGraphLaunch");
    checked(cudaEventRecord(q.end, stream), "cudaEventRecord");
    p.replays.push_back(q);
  } else {
    eager(p, from, last, at, timed ? &rest : nullptr);
  }
  if (timed) {
    r.shares = head;
    r.shares.insert(r.shares.end(), rest.begin(), rest.end());
    for (uint64_t i = first; i < last; i++) p.ops[i].seconds += r.shares[i - first];
  }
  if (r.runs == 0 || captured) {  // the driver may allocate memory for the first replay, too
    checked(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    note_memory(captured ? "graph" : "warm-up");
  }
  last_ = &p;
  r.runs += r.runs < 2;
  ran_ = true;
  at = -1;
  if (p.outputs.empty()) return;
  std::vector<const float *> places(p.outputs.size());
  for (const auto &o : p.outputs) places[o.second] = reinterpret_cast<const float *>(o.first->data);
  for (size_t i = 0; i < places.size(); i += most_gathered) {
    gather_list list{};
    size_t n = std::min(places.size() - i, size_t{most_gathered});
    std::copy_n(places.begin() + static_cast<int64_t>(i), n, list.from);
    gather(list, static_cast<int>(n), p.numbers + i, *this);
  }
  if (!p.gathered)
    checked(cudaEventCreateWithFlags(&p.gathered, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  checked(cudaEventRecord(p.gathered, stream), "cudaEventRecord");
}

// settle gives the time of replays to their ops.
void gpu::settle(program &base) {
  gpu_program &p = mine(base);
  for (const replay &q : p.replays) {
    checked(cudaEventSynchronize(q.end), "cudaEventSynchronize");
    float ms = 0;
    checked(cudaEventElapsedTime(&ms, q.begin, q.end), "cudaEventElapsedTime");
    double sum = 0;
    for (double s : q.of->shares) sum += s;
    for (size_t i = 0; i < q.of->shares.size() && sum > 0; i++)
      p.ops[q.first + i].seconds += ms * 1e-3 * q.of->shares[i] / sum;
    p.spare.push_back(q.begin), p.spare.push_back(q.end);
  }
  p.replays.clear();
}

}  // namespace lb
