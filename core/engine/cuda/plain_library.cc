// Replaces library.cc where cuDNN and cuBLAS are absent: the plain loops, and our own convolutions. The
// tuning cache is used as there: the plain loop is engine 0.
#include "tuning.h"

namespace lb {

struct libraries {
  std::map<std::string, choice> book, engines;
  misfits unused;
};

std::shared_ptr<libraries> open_libraries(gpu &d) {
  auto l = std::make_shared<libraries>();
  l->book = read_book(d.plan_book);
  return l;
}

std::string notes_of(const gpu &d) { return d.library ? d.library->unused.line() : ""; }

namespace {

choice engine_of(const op &o, gpu &d) {
  libraries &l = *d.library;
  std::string name = signature(o).text(d);
  auto known = l.engines.find(name);
  if (known != l.engines.end()) return known->second;
  auto own = make_mma_conv(o, d);
  choice plain, ours;
  ours.engine = own_engine, ours.workspace = own ? static_cast<int64_t>(own->scratch) : 0;
  auto line = l.book.find(name);
  if (line != l.book.end()) {
    if (line->second.engine == 0 || (own && line->second.engine == own_engine))
      return l.engines[name] = line->second;
    l.unused.reasons[name] = "engine " + std::to_string(line->second.engine) + " does not exist here";
  }
  if (!d.tune) return l.engines[name] = own && d.own ? ours : plain;
  trial timed(o, d.stream);
  auto inner = [&](const op &o) { return make_plain(o, d); };
  auto loop = normalises_input(o) ? make_normalised(timed.o, d, inner) : inner(timed.o);
  std::vector<choice> candidates{plain};
  rent own_input(static_cast<int64_t>(loop->scratch), d.stream);
  timed.o.scratch = static_cast<uint8_t *>(own_input.p);
  candidates[0].microseconds = microseconds_of(d.stream, [&] { return loop->run(timed.o), true; });
  if (own) {
    rent workspace(ours.workspace, d.stream);
    timed.o.scratch = static_cast<uint8_t *>(workspace.p);
    ours.microseconds = microseconds_of(d.stream, [&] { return own->run(timed.o), true; });
    candidates.push_back(ours);
  }
  return l.engines[name] = candidates[static_cast<size_t>(least_workspace(candidates))];
}

}  // namespace

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
std::string choices_of(const program &p, gpu &d) {
  std::map<std::string, std::string> lines;
  for (const op *o : convolutions_of(p)) lines[signature(*o).text(d)] = engine_of(*o, d).text();
  std::string text;
  for (const auto &l : lines) text += l.first + "\t" + l.second + "\n";
  return text;
}

std::unique_ptr<kernel> make_conv(const op &o, gpu &d) {
  if (normalises_input(o) && engine_of(o, d).engine != own_engine)
    return make_normalised(o, d, [&](const op &inner) { return make_plain(inner, d); });
  return engine_of(o, d).engine == own_engine ? make_mma_conv(o, d) : make_plain(o, d);
}

std::unique_ptr<kernel> make_linear(const op &o, gpu &d) { return make_plain(o, d); }

}  // namespace lb
