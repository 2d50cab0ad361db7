//go:build unix && !linux

package atomicfile

import (
	"errors"
	"os"
)

// reserve is for Linux only.
func reserve(*os.File, int64) error { return errors.ErrUnsupported }
