// Package meter measures runs: the memory of the process as reported by
// the operating system, and the distribution of step times.
//
// It measures and does not judge. A value that the system does not report is absent (a nil
// pointer or false), never 0, and is never replaced by a reading of another kind of
// memory. Planned memory is computed elsewhere and is not mixed with
// these measurements.
package meter
