// Package atomicfile writes files so that a reader finds the old content or the new one, never a part of it.
//
// The content is written to a temporary file in the same folder, which is synced and renamed when it is complete
// (github.com/google/renameio). A process that is killed meanwhile leaves the temporary file. To distinguish
// such a file from one that another process is writing, the writer holds a lock on it (flock), which the kernel
// releases when the process ends: RemoveAbandoned deletes the files whose lock is free.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// Error reports that a file was not written. The previous file is unchanged.
type Error struct {
	Path string
	Err  error
}

// Error names the file and says why. The temporary file, which system errors name, is left out.
func (e *Error) Error() string {
	cause := e.Err
	var path *fs.PathError
	var link *os.LinkError
	if errors.As(cause, &path) {
		cause = path.Err
	} else if errors.As(cause, &link) {
		cause = link.Err
	}
	return fmt.Sprintf("%s was not written: %v", e.Path, cause)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Write writes a file with what write prints; permissions are those before the umask. Errors, those of write too, are an *Error.
func Write(path string, permissions fs.FileMode, write func(io.Writer) error) error {
	f, err := Create(path, permissions)
	if err != nil {
		return err
	}
	defer f.Discard()
	if err := write(f); err != nil {
		return &Error{path, err}
	}
	return f.Commit("")
}

// WriteBytes writes a file with the given content.
func WriteBytes(path string, content []byte, permissions fs.FileMode) error {
	return Write(path, permissions, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// File is a file being written. Commit moves it to its path.
type File struct {
	*renameio.PendingFile
	path string
	// lock is a second handle of the temporary file, since PendingFile closes its own before it renames.
	lock *os.File
}

// Create opens a temporary file beside path. The caller ends with Commit or Discard. The error is an *Error.
func Create(path string, permissions fs.FileMode) (*File, error) {
	for {
		pending, err := renameio.NewPendingFile(path, renameio.WithPermissions(permissions), renameio.WithTempDir(filepath.Dir(path)))
		if err != nil {
			return nil, &Error{path, err}
		}
		lock, err := os.Open(pending.Name())
		if err == nil && acquire(lock, unix.LOCK_EX) && sameFile(lock, pending.Name()) {
			return &File{pending, path, lock}, nil
		}
		if err == nil && sameFile(lock, pending.Name()) { // a file system without locks: the file is never taken for abandoned
			return &File{pending, path, lock}, nil
		}
		// RemoveAbandoned was faster than the lock: try again with a new file.
		if err == nil {
			lock.Close()
		}
		_ = pending.Cleanup()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, &Error{path, err}
		}
	}
}

// Commit moves the complete file to its path. If previous is not empty, the existing file is
// renamed to it. The error is an *Error.
func (f *File) Commit(previous string) error {
	defer f.lock.Close()
	if err := f.Sync(); err != nil { // before the old file moves
		return &Error{f.path, err}
	}
	if previous != "" {
		if err := os.Rename(f.path, previous); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &Error{f.path, err}
		}
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return &Error{f.path, err}
	}
	return nil
}

// Discard removes the temporary file; after Commit it does nothing.
func (f *File) Discard() {
	_ = f.Cleanup()
	f.lock.Close()
}

// temporary matches the names that renameio gives: a dot, the name of the file with its extension, a random number of
// up to 19 digits. One in 10^9 has fewer than ten digits.
var temporary = regexp.MustCompile(`^\.[^/]+\.[a-z0-9]*[a-z][0-9]{10,19}$`)

// RemoveAbandoned deletes the temporary files of a folder whose writers are gone, and returns their names. It
// does not look into sub-folders. A folder that does not exist has none.
func RemoveAbandoned(dir string) (removed []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if !temporary.MatchString(entry.Name()) || !entry.Type().IsRegular() {
			continue
		}
		gone, err := removeIfAbandoned(filepath.Join(dir, entry.Name()))
		if err != nil {
			return removed, err
		}
		if gone {
			removed = append(removed, entry.Name())
		}
	}
	return removed, nil
}

func removeIfAbandoned(path string) (bool, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, nil // it was renamed meanwhile, or is another user's
	}
	defer file.Close()
	if !acquire(file, unix.LOCK_EX|unix.LOCK_NB) || !sameFile(file, path) {
		return false, nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("temporary file of a process that is gone: %w", err)
	}
	return true, nil
}

// acquire takes the lock; false if another process has it or the file system has no locks.
func acquire(file *os.File, how int) bool {
	for {
		err := unix.Flock(int(file.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
}

// sameFile reports whether the path still leads to the open file.
func sameFile(file *os.File, path string) bool {
	a, err := file.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

// CheckRoom checks whether a file of the given size could be written at path: it creates a temporary file of that
// size and removes it. Where the file system cannot reserve space it checks less: that a file can be created and
// that its first 64 KiB can be written. The error is an *Error.
func CheckRoom(path string, bytes int64) error {
	f, err := Create(path, 0o600)
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := f.Write(make([]byte, min(bytes, 64<<10))); err != nil {
		return &Error{path, err}
	}
	if err := f.Sync(); err != nil { // some file systems find out only here that they are full
		return &Error{path, err}
	}
	if err := reserve(f.File, bytes); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return &Error{path, err}
	}
	return nil
}

// MakeFolder makes a folder for files and those above it, if they do not exist. The error is an *Error.
func MakeFolder(path string) error {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return &Error{path, err}
	}
	return nil
}

// WriteThrough is Write, but a symbolic link stays one, and what exists and is not a regular file, such as a pipe, is written to.
func WriteThrough(path string, permissions fs.FileMode, write func(io.Writer) error) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return &Error{path, err}
		}
		if err := errors.Join(write(file), file.Close()); err != nil {
			return &Error{path, err}
		}
		return nil
	}
	return Write(path, permissions, write)
}
