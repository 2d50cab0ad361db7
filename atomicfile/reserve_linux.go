package atomicfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// reserve allocates blocks for a file of the given size. The error is errors.ErrUnsupported where the file system
// has no such call.
func reserve(file *os.File, bytes int64) error {
	if bytes <= 0 {
		return nil
	}
	for {
		if err := unix.Fallocate(int(file.Fd()), 0, 0, bytes); err != unix.EINTR {
			return err
		}
	}
}
