// Programs of several streams. At the beginning of a run the other streams fork from stream 0, with an
// event, and at the end stream 0 waits for all of them. In between an op that waits for an op of another
// stream does so by an event. In a captured graph the events are edges. The timed run has one stream, so
// that the seconds of an op are its own.
#pragma once
#include <algorithm>

#include "gpu.h"

namespace lb {

// hold keeps the device's stream busy for a time (hold.cu). What is submitted meanwhile runs without gaps:
// the time between two events is then the device's own, and not that in which the host submits.
void hold(uint64_t nanoseconds, gpu &);

}  // namespace lb

namespace lb {

// stream_events are what the ops of a program wait with.
struct stream_events {
  std::vector<cudaEvent_t> ended;   // by op: recorded after it; nullptr: no op waits for it
  std::vector<cudaEvent_t> joined;  // by stream: recorded at the end of a run, on stream 0 at the beginning

  void make(const std::vector<op> &ops) {
    drop();
    int32_t streams = 1;
    for (const op &o : ops) streams = std::max(streams, o.stream + 1);
    joined.resize(static_cast<size_t>(streams)), ended.resize(ops.size());
    auto one = [](cudaEvent_t &e) {
      if (!e) checked(cudaEventCreateWithFlags(&e, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    };
    for (cudaEvent_t &e : joined) one(e);
    for (const op &o : ops)
      for (uint64_t w : o.waits) one(ended[w]);
  }
  void drop() {
    for (auto *list : {&ended, &joined}) {
      for (cudaEvent_t e : *list)
        if (e) cudaEventDestroy(e);
      list->clear();
    }
  }
  ~stream_events() { drop(); }
};

// fan launches each op of a range on its own CUDA stream. Its destructor, also after an error, makes
// stream 0 the current one again.
class fan {
 public:
  fan(gpu &d, const program &p, const stream_events &e, uint64_t first)
      : d_(d), p_(p), events_(e), first_(first), away_(e.joined.size()) {
    if (away_.size() > 1) record(events_.joined[0], d_.stream);
  }
  ~fan() { take(0); }
  // enter makes the stream of op i current and lets it wait for what the op waits for.
  void enter(uint64_t i) {
    const op &o = p_.ops[i];
    auto stream = static_cast<size_t>(o.stream);
    take(stream);
    if (stream > 0 && !away_[stream]) wait(events_.joined[0]);
    away_[stream] = true;
    for (uint64_t w : o.waits)
      if (w >= first_) wait(events_.ended[w]);  // else the run that it was part of has ended
  }
  // leave lets others wait for the n ops from i on, which have been launched.
  void leave(uint64_t i, size_t n) {
    for (size_t k = 0; k < n; k++)
      if (cudaEvent_t e = events_.ended[i + k]) record(e, d_.stream);
  }
  // join lets stream 0 wait for all others.
  void join() {
    take(0);
    for (size_t stream = 1; stream < away_.size(); stream++) {
      if (!away_[stream]) continue;
      record(events_.joined[stream], d_.streams_[stream]);
      wait(events_.joined[stream]);
    }
  }

 private:
  void take(size_t stream) {
    d_.stream_index = static_cast<int32_t>(stream), d_.stream = d_.streams_[stream];
  }
  void wait(cudaEvent_t e) { checked(cudaStreamWaitEvent(d_.stream, e, 0), "cudaStreamWaitEvent"); }
  void record(cudaEvent_t e, cudaStream_t s) { checked(cudaEventRecord(e, s), "cudaEventRecord"); }
  gpu &d_;
  const program &p_;
  const stream_events &events_;
  uint64_t first_;
  std::vector<bool> away_;  // by stream: it has left the first stream
};

}  // namespace lb
