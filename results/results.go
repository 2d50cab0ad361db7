// Package results is the record of a run: one JSON file, whose fields are the
// contract with everything that reads our numbers.
//
// In goes a Record that a harness filled; out comes `<dir>/<id>.json`. In goes a
// folder; out come its records, and a warning for each file that is not one.
// Reports, comparisons and other people's scripts read records and nothing else,
// so they work on machines that cannot run the benchmark.
//
// Opinions:
//   - Not measured is absent. Every measured number is a pointer, left out when
//     nil; a 0 in a record is a measured 0. A loss that is not finite is no
//     measurement and is left out as well: the status says that the run diverged.
//   - Base units only: bytes, seconds, fractions in [0, 1]. Text scales them.
//   - An id is a hash of the spec, so asking again for the same run finds it.
//   - Writing never costs an old record: beside, synced, renamed.
//   - Reading never fails for one bad file among many. A newer schema is refused
//     with both numbers, an older one is migrated.
//   - Records are averaged over seeds and nothing else (Groups).
//
// The split into a small result type, a reader that keeps going and warnings as
// values follows golang.org/x/perf/benchfmt.
package results

// Schema is the schema number that Write writes and the newest that Read reads.
const Schema = 1
