// Replaces library.cc where cuDNN and cuBLAS are absent: the plain loops.
#include "gpu.h"

namespace lb {

struct libraries {};

std::shared_ptr<libraries> open_libraries(gpu &) { return nullptr; }
// describe_libraries also gives what tests ask for: the barriers that kernels have reached, and bank
// conflicts.
std::string describe_libraries() {
  std::string text = "library=none\n", names;
  for (const std::string &b : emu::barriers) names += (names.empty() ? "" : " ") + b;
  emu::barriers.clear();
  if (!names.empty()) text += "barriers=" + names + "\n";
  if (emu::count_conflicts) text += "bank_conflicts=" + std::to_string(emu::conflicts) + "\n";
  emu::conflicts = 0;
  return text;
}
std::string choices_of(const program &, gpu &) { return ""; }
std::unique_ptr<kernel> make_conv(const op &o, gpu &d) {
  std::unique_ptr<kernel> k = d.own ? make_mma_conv(o, d) : nullptr;
  return k ? std::move(k) : make_plain(o, d);
}
std::unique_ptr<kernel> make_linear(const op &o, gpu &d) { return make_plain(o, d); }

}  // namespace lb
