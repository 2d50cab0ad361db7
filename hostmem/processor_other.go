//go:build !linux

package hostmem

// Processor is the model name of the CPU; empty where the system does not tell it.
func Processor() string { return "" }
