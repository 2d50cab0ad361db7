package suite

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"github.com/prometheus/procfs/sysfs"
	"golang.org/x/sys/unix"
)

// childAttributes put a run into a process group of its own, and end it if the
// sweep is killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// usableCPUs are the processors that this process may use. Where the system does not tell the cores, each is one.
func usableCPUs() ([]CPU, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	cores := map[int]CPU{}
	if sys, err := sysfs.NewDefaultFS(); err == nil {
		all, _ := sys.CPUs()
		for _, cpu := range all {
			number, err := strconv.Atoi(cpu.Number())
			topology, err2 := cpu.Topology()
			if errors.Join(err, err2) != nil {
				continue
			}
			core, err := strconv.Atoi(topology.CoreID)
			pack, err2 := strconv.Atoi(topology.PhysicalPackageID)
			if errors.Join(err, err2) == nil {
				cores[number] = CPU{Number: number, Package: pack, Core: core}
			}
		}
	}
	var usable []CPU
	for number := range len(set) * 64 {
		if !set.IsSet(number) {
			continue
		}
		cpu, ok := cores[number]
		if !ok {
			cpu = CPU{Number: number, Package: -1, Core: number}
		}
		usable = append(usable, cpu)
	}
	return usable, nil
}

// startOn starts a process that may use these processors only. It inherits them from the thread that starts it; threads of the Go
// runtime that begin meanwhile do not: while a thread is locked, another one starts them.
func startOn(command *exec.Cmd, cpus []int) error {
	if len(cpus) == 0 {
		return command.Start()
	}
	var all, own unix.CPUSet
	for _, cpu := range cpus {
		own.Set(cpu)
	}
	runtime.LockOSThread()
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("sched_getaffinity: %w", err)
	}
	if err := unix.SchedSetaffinity(0, &own); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("processors %v: sched_setaffinity: %w", cpus, err)
	}
	started := command.Start()
	if err := unix.SchedSetaffinity(0, &all); err != nil { // the thread stays locked: nothing else may run on it
		return errors.Join(started, fmt.Errorf("sched_setaffinity: %w", err))
	}
	runtime.UnlockOSThread()
	return started
}
