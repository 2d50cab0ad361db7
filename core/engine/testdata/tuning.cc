// Tests the choice among candidates and the timing of tuning.h, with the emulator. Built by a test with the flags of
// the emulator and its objects; prints what is wrong, and ends with 1.
#include "../cuda/tuning.h"

namespace {

int faults;

void expect(const char *what, double got, double want) {
  if (got == want) return;
  std::printf("%s: got %g, want %g\n", what, got, want);
  faults++;
}

lb::choice candidate(double microseconds, int64_t workspace) {
  lb::choice c;
  c.microseconds = microseconds, c.workspace = workspace;
  return c;
}

void check_choice() {
  using list = std::vector<lb::choice>;
  auto pick = [](const list &l) { return static_cast<double>(lb::least_workspace(l)); };
  expect("no candidate", pick({}), -1);
  expect("all failed", pick({candidate(-1, 0), candidate(-1, 5)}), -1);
  expect("a failed one first", pick({candidate(-1, 0), candidate(7, 5)}), 1);
  expect("2 % slower without 129 MiB", pick({candidate(100, 129 << 20), candidate(102, 0)}), 1);
  expect("4 % slower without 129 MiB", pick({candidate(100, 129 << 20), candidate(104, 0)}), 0);
  expect("the same workspace", pick({candidate(102, 8), candidate(100, 8), candidate(101, 8)}), 1);
  // 3 % of the fastest, not of the best so far: 103.5 is within 3 % of 102 only.
  expect("no drift", pick({candidate(102, 4), candidate(103.5, 0), candidate(100, 8)}), 0);
}

void check_timing(lb::gpu &d) {
  int launches = 0;
  auto step = [&] { emu::submit(d.stream, [&] { launches++; }); };
  double time = lb::microseconds_of(d.stream, [&] { return step(), true; });
  if (time < 0) expect("a candidate", time, 0);
  // One outside of the graph, and the graph once for each replay and once before.
  expect("launches", launches, 1 + lb::timed_launches * (lb::timed_replays + 1));
  expect("a candidate that fails", lb::microseconds_of(d.stream, [] { return false; }), -1);
  int calls = 0;
  expect("one that fails in the capture", lb::microseconds_of(d.stream, [&] { return ++calls == 1; }), -1);
  auto raise = []() -> bool { lb::fail(LB_INTERNAL, "no"); };
  expect("one that throws", lb::microseconds_of(d.stream, raise), -1);
  calls = 0;
  expect("one that throws in the capture",
         lb::microseconds_of(d.stream, [&] { return ++calls == 1 ? true : raise(); }), -1);
  launches = 0;
  step();
  expect("the stream works after that, and is not captured", launches, 1);
  bool lost = false;
  try {
    lb::microseconds_of(d.stream, []() -> bool { lb::fail(LB_DEVICE_LOST, "gone"); });
  } catch (const lb::failure &f) {
    lost = f.code == LB_DEVICE_LOST;
  }
  expect("a lost device is not passed over", lost, true);
}

}  // namespace

int main() {
  check_choice();
  lb_options o{};
  lb::gpu d(o);
  check_timing(d);
  return faults > 0;
}
