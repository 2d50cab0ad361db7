package meter

import (
	"math"
	"syscall"
)

// CPUSeconds is the processor time that all threads of this process have used since it started, in seconds, in user
// and in kernel mode; NaN if the system does not report it. Unlike wall time it excludes the time
// during which other processes had the processor.
func CPUSeconds() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return math.NaN()
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)*1e-6 }
	return seconds(used.Utime) + seconds(used.Stime)
}
