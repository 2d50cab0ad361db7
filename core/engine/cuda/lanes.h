// Lanes are streams. Ops of a lane other than 0 leave the first stream behind an event at the
// beginning of a run, and it waits for all of them at the end; between, an op that waits for one of
// another lane does so by an event. Captured, the events are edges of the graph. The run with a
// clock has one stream: an op's seconds are its own then.
#pragma once
#include <algorithm>

#include "gpu.h"

namespace lb {

// lane_events are what the ops of a program wait with.
struct lane_events {
  std::vector<cudaEvent_t> ended;   // by op: recorded behind it; nullptr: no op waits for it
  std::vector<cudaEvent_t> joined;  // by lane: recorded at the end of a run, on lane 0 at the beginning

  void make(const std::vector<op> &ops) {
    drop();
    int32_t lanes = 1;
    for (const op &o : ops) lanes = std::max(lanes, o.lane + 1);
    joined.resize(static_cast<size_t>(lanes)), ended.resize(ops.size());
    auto one = [](cudaEvent_t &e) {
      if (!e) checked(cudaEventCreateWithFlags(&e, cudaEventDisableTiming), "making an event");
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
  ~lane_events() { drop(); }
};

// fan runs the ops of a range on the streams of their lanes. Where it ends, whether or not all
// went well, the device has its first stream again.
class fan {
 public:
  fan(gpu &d, const program &p, const lane_events &e, uint64_t first)
      : d_(d), p_(p), events_(e), first_(first), away_(e.joined.size()) {
    if (away_.size() > 1) record(events_.joined[0], d_.stream);
  }
  ~fan() { take(0); }
  // enter makes the lane of op i the one that is launched on, behind what the op waits for.
  void enter(uint64_t i) {
    const op &o = p_.ops[i];
    auto lane = static_cast<size_t>(o.lane);
    take(lane);
    if (lane > 0 && !away_[lane]) wait(events_.joined[0]);
    away_[lane] = true;
    for (uint64_t w : o.waits)
      if (w >= first_) wait(events_.ended[w]);  // else the run that it was part of has ended
  }
  // leave lets others wait for the n ops from i on, which have been launched.
  void leave(uint64_t i, size_t n) {
    for (size_t k = 0; k < n; k++)
      if (cudaEvent_t e = events_.ended[i + k]) record(e, d_.stream);
  }
  // join brings all lanes back to the first stream.
  void join() {
    take(0);
    for (size_t lane = 1; lane < away_.size(); lane++) {
      if (!away_[lane]) continue;
      record(events_.joined[lane], d_.lanes_[lane]);
      wait(events_.joined[lane]);
    }
  }

 private:
  void take(size_t lane) { d_.lane = static_cast<int32_t>(lane), d_.stream = d_.lanes_[lane]; }
  void wait(cudaEvent_t e) { checked(cudaStreamWaitEvent(d_.stream, e, 0), "waiting for a lane"); }
  void record(cudaEvent_t e, cudaStream_t s) { checked(cudaEventRecord(e, s), "recording an event"); }
  gpu &d_;
  const program &p_;
  const lane_events &events_;
  uint64_t first_;
  std::vector<bool> away_;  // by lane: it has left the first stream
};

}  // namespace lb
