// Replaces library.cc where cuDNN and cuBLAS are absent: the plain loops.
#include "gpu.h"

namespace lb {

struct libraries {};

std::shared_ptr<libraries> open_libraries(gpu &) { return nullptr; }
std::string describe_libraries() { return "library=none\n"; }
std::string choices_of(const program &, gpu &) { return ""; }
std::unique_ptr<kernel> make_conv(const op &o, gpu &d) {
  std::unique_ptr<kernel> k = d.own ? make_mma_conv(o, d) : nullptr;
  return k ? std::move(k) : make_plain(o, d);
}
std::unique_ptr<kernel> make_linear(const op &o, gpu &d) { return make_plain(o, d); }

}  // namespace lb
