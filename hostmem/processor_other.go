//go:build !linux

package hostmem

// Processor is the model name of the CPU; empty if unknown.
func Processor() string { return "" }
