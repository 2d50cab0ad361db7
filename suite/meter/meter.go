// Package meter reads what a run really took: the memory of the process from
// the operating system, and the distribution of its step times.
//
// It measures and does not judge. What a system cannot tell is absent, a nil
// pointer or a false, and never 0; a reading of another kind of memory is never
// put in its place. Planned memory is computed elsewhere and is not mixed with
// what is read here.
package meter
