package suite

import "syscall"

// childAttributes put a run into a process group of its own, and end it if the
// sweep is killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
