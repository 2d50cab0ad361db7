package meter

import (
	"math"
	"syscall"
)

// CPUSeconds is the processor time that all threads of this process have used since it started, in seconds, in user
// and in kernel mode; not a number where the system does not tell. Unlike the time on the wall it leaves out the time
// for which other processes had the processor.
func CPUSeconds() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return math.NaN()
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)*1e-6 }
	return seconds(used.Utime) + seconds(used.Stime)
}
