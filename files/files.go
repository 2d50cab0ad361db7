// Package files opens files that users name and that other programs wrote.
//
// A path given on the command line may lead to a pipe without a writer, to an endless
// device, or to a file a thousand times as large as expected. Open and Read accept regular files of at
// most a given size and refuse everything else before they read a byte, so that a wrong path is an
// error of one line and not a process that hangs or runs out of memory.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/dustin/go-humanize"
)

// Open opens a regular file of at most limit bytes for reading and returns its size. The error is a
// *NotRegularError, a *TooLargeError, or that of the operating system.
func Open(path string, limit int64) (f *os.File, size int64, err error) {
	// Without O_NONBLOCK a named pipe would block here until it is opened for writing.
	f, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	status, err := f.Stat()
	switch {
	case err != nil:
	case !status.Mode().IsRegular():
		err = &NotRegularError{Path: path, Mode: status.Mode()}
	case status.Size() > limit:
		err = &TooLargeError{Path: path, Bytes: status.Size(), Limit: limit}
	default:
		return f, status.Size(), nil
	}
	return nil, 0, errors.Join(err, f.Close())
}

// Read returns the content of a regular file of at most limit bytes. A file that grows while it is read,
// or whose size is not known beforehand (as those of /proc), is bounded too.
func Read(path string, limit int64) ([]byte, error) {
	f, size, err := Open(path, limit)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content := make([]byte, 0, size+1) // one more, so that the end is seen without growing
	for len(content) <= int(limit) {
		n, err := f.Read(content[len(content):cap(content)])
		content = content[:len(content)+n]
		if errors.Is(err, io.EOF) {
			return content, nil
		}
		if err != nil {
			return nil, err
		}
		if len(content) == cap(content) {
			content = append(content, 0)[:len(content)]
		}
	}
	return nil, &TooLargeError{Path: path, Bytes: int64(len(content)), Limit: limit}
}

// NotRegularError reports a path that does not lead to a regular file.
type NotRegularError struct {
	Path string
	Mode fs.FileMode
}

// Error names the path and what it leads to.
func (e *NotRegularError) Error() string {
	kind := "not a regular file"
	switch t := e.Mode.Type(); {
	case t.IsDir():
		kind = "is a directory"
	case t&fs.ModeNamedPipe != 0:
		kind = "is a pipe"
	case t&fs.ModeDevice != 0:
		kind = "is a device"
	case t&fs.ModeSocket != 0:
		kind = "is a socket"
	}
	return fmt.Sprintf("%s: %s; only regular files are read", e.Path, kind)
}

// Hint tells what to do.
func (e *NotRegularError) Hint() string { return "write the content to a file and give its path" }

// TooLargeError reports a file larger than its reader accepts.
type TooLargeError struct {
	Path         string
	Bytes, Limit int64 // Bytes is what was seen of it, which may not be all
}

// Error names the path, its size and the limit.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s: has %d bytes or more; at most %s are read here", e.Path, e.Bytes, humanize.IBytes(uint64(e.Limit)))
}

// Hint tells what to do.
func (e *TooLargeError) Hint() string {
	return "check that the path is the intended one, or split the file"
}
