//go:build unix && !linux

package suite

import (
	"errors"
	"os/exec"
	"syscall"
)

// childAttributes put a run into a process group of its own.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// usableCPUs needs Linux.
func usableCPUs() ([]CPU, error) { return nil, errors.ErrUnsupported }

// startOn starts a process.
func startOn(command *exec.Cmd, cpus []int) error {
	if len(cpus) > 0 {
		return errors.ErrUnsupported
	}
	return command.Start()
}
