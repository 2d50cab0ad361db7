// Package results defines the record of a run: one JSON file, whose fields are the
// contract with all readers.
//
// Write writes a Record to `<dir>/<id>.json`. ReadDir reads the records of a folder,
// with a warning for each file that is not a record.
// Reports, comparisons and scripts read records and nothing else,
// so they work on machines that cannot run the benchmark.
//
// Rules:
//   - A value that was not measured is absent. Every measured number is a pointer, omitted if
//     nil; a 0 in a record is a measured 0. A loss that is not finite is omitted
//     too: the status tells that the run diverged.
//   - Base units only: bytes, seconds, fractions in [0, 1]. Text scales them.
//   - An id is a hash of the spec, so a repeated run is found.
//   - Writing is atomic: an old record is never lost.
//   - Reading never fails for one bad file among many. A newer schema is an
//     error with both numbers, an older one is migrated.
//   - Records are averaged over seeds and nothing else (Groups).
//
// The split into a small result type, a reader that keeps going and warnings as
// values follows golang.org/x/perf/benchfmt.
package results

// Schema is the schema number that Write writes and the newest that Read reads.
const Schema = 1

// WithLocalChanges ends the version of a program that was built of a work tree with changes beside its commit.
const WithLocalChanges = " with local changes"

// Pair holds measurements of two programs close to each other in time, in random order: one record or more of each, of one
// experiment or of several.
type Pair struct{ Old, New []Record }
