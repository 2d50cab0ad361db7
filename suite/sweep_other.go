//go:build unix && !linux

package suite

import "syscall"

// childAttributes put a run into a process group of its own.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
