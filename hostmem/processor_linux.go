package hostmem

import "github.com/prometheus/procfs"

// Processor is the model name of the CPU; empty where the system does not tell it.
func Processor() string {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return ""
	}
	cpus, err := fs.CPUInfo()
	if err != nil || len(cpus) == 0 {
		return ""
	}
	return cpus[0].ModelName
}
