package weights

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strings"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/core/graph"
)

// checksumKey names the checksum among the metadata: the SHA-256 of the whole file including the header, computed with
// zeros in place of the checksum's digits.
const checksumKey = "localbench_sha256"

// noChecksum is the placeholder of the checksum until the file is complete.
var noChecksum = strings.Repeat("0", hex.EncodedLen(sha256.Size))

// DamagedError reports a file that differs from what SaveChecked wrote.
type DamagedError struct {
	Path string
	Err  error
}

// Error names the file and what is wrong with it.
func (e *DamagedError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.Path, e.Err) }

// Unwrap returns what is wrong.
func (e *DamagedError) Unwrap() error { return e.Err }

// SaveChecked is Save with a checksum over the whole file. The file that was at path before becomes previous.
func SaveChecked(path, previous string, s Store, values []*graph.Value, metadata map[string]string) error {
	file, err := atomicfile.Create(path, 0o644)
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	defer file.Discard()
	metadata = maps.Clone(metadata)
	metadata[checksumKey] = noChecksum
	sum, head := sha256.New(), &firstBytes{}
	err = Write(io.MultiWriter(file, sum, head), s, values, metadata)
	if err == nil {
		var at int
		if at, err = checksumAt(head.bytes, noChecksum); err == nil {
			_, err = file.WriteAt([]byte(hex.EncodeToString(sum.Sum(nil))), int64(at))
		}
	}
	if err != nil {
		return fmt.Errorf("weights: %w", &atomicfile.Error{Path: path, Err: err})
	}
	if err := file.Commit(previous); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	return nil
}

// firstBytes keeps the first write that is longer than the length of a header: the header.
type firstBytes struct {
	bytes []byte
	done  bool
}

// Write never fails.
func (f *firstBytes) Write(p []byte) (int, error) {
	if !f.done {
		f.bytes = append(f.bytes, p...)
		f.done = bytes.Contains(f.bytes, []byte(checksumKey)) && bytes.Contains(f.bytes, []byte(noChecksum))
	}
	return len(p), nil
}

// checksumAt finds the digits of a checksum in the beginning of a file.
func checksumAt(head []byte, digits string) (int, error) {
	key := bytes.Index(head, []byte(checksumKey))
	if key < 0 {
		return 0, errors.New("its header has no checksum")
	}
	at := bytes.Index(head[key:], []byte(digits))
	if at < 0 {
		return 0, errors.New("its header has no checksum")
	}
	return key + at, nil
}

// LoadChecked reads a file of SaveChecked into values and returns the metadata. The file must hold these tensors and no others. A
// fault in the file is a *DamagedError, and values are unchanged then. Other errors are those of the system and of the store.
func LoadChecked(path string, s Store, values []*graph.Value) (map[string]string, error) {
	f, err := open(path)
	var system *fs.PathError
	if errors.As(err, &system) {
		return nil, err
	}
	if err != nil {
		return nil, &DamagedError{path, errors.Unwrap(err)}
	}
	defer f.Close()
	if err := f.verify(); errors.As(err, &system) {
		return nil, err
	} else if err != nil {
		return nil, &DamagedError{path, err}
	}
	if err := f.compare(values); err != nil {
		return nil, &DamagedError{path, err}
	}
	return f.metadata.Metadata(), f.load(s, values)
}

// verify computes the checksum of the file and compares it with the one in its header.
func (f *file) verify() error {
	want := f.metadata.Metadata()[checksumKey]
	if len(want) != len(noChecksum) {
		return errors.New("its header has no checksum")
	}
	head := make([]byte, f.data)
	if _, err := f.ReadAt(head, 0); err != nil {
		return err
	}
	at, err := checksumAt(head, want)
	if err != nil {
		return err
	}
	copy(head[at:], noChecksum)
	sum := sha256.New()
	sum.Write(head)
	if _, err := io.Copy(sum, io.NewSectionReader(f, f.data, 1<<62)); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		return fmt.Errorf("its checksum is %.8s…, but that of its content is %.8s…", want, got)
	}
	return nil
}
