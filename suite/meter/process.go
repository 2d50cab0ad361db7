package meter

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory is the physical memory of a process. A field is nil if the system
// does not report it.
//
// Note that the kernel counts pages per processor and sums them from time to time,
// so both sizes may be off by some hundred KiB.
type Memory struct {
	// ResidentBytes is the resident memory now (VmRSS).
	ResidentBytes *int64
	// PeakBytes is the peak since the start or the last ResetPeak (VmHWM).
	PeakBytes *int64
	// PageTableBytes is the size of its page tables (VmPTE), not included above.
	PageTableBytes *int64
	// DataBytes is its private writable address space (VmData), resident or not; RLIMIT_DATA limits it.
	DataBytes *int64
}

// Process reads a process from its folder in /proc. On systems without that
// folder every method returns errors.ErrUnsupported.
type Process struct {
	// Dir is its folder, such as /proc/self.
	Dir string
}

// Self is this process.
func Self() Process { return Process{Dir: "/proc/self"} }

// Memory reads the process's memory. It costs some ten microseconds.
func (p Process) Memory() (Memory, error) {
	path := filepath.Join(p.Dir, "status")
	text, err := os.ReadFile(path)
	if err != nil {
		return Memory{}, p.failure("memory", err)
	}
	var m Memory
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		var field **int64
		switch name {
		case "VmRSS":
			field = &m.ResidentBytes
		case "VmHWM":
			field = &m.PeakBytes
		case "VmPTE":
			field = &m.PageTableBytes
		case "VmData":
			field = &m.DataBytes
		default:
			continue
		}
		size, err := parseKB(value)
		if err != nil {
			return Memory{}, fmt.Errorf("%s: %s: %w", path, name, err)
		}
		*field = &size
	}
	if err := lines.Err(); err != nil {
		return Memory{}, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// ResetPeak sets the peak to the memory resident now, so that the next reading
// gives the peak since this call. Free memory that the Go runtime keeps
// stays resident; the caller may return it to the system first.
func (p Process) ResetPeak() error {
	// "5" resets the high-water mark (proc(5), clear_refs; Linux 4.0 and later).
	file, err := os.OpenFile(filepath.Join(p.Dir, "clear_refs"), os.O_WRONLY, 0)
	if err != nil {
		return p.failure("reset of the peak", err)
	}
	_, err = file.WriteString("5\n")
	if err = errors.Join(err, file.Close()); err != nil {
		return p.failure("reset of the peak", err)
	}
	return nil
}

// failure turns a missing file into errors.ErrUnsupported, since systems without
// the feature have no such file.
func (p Process) failure(what string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w on this system: %s does not exist; Linux with /proc is needed", what, errors.ErrUnsupported, p.Dir)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// parseKB reads a size as /proc writes it, "  1234 kB", where a kB is 1024 bytes.
func parseKB(text string) (int64, error) {
	fields := strings.Fields(text)
	if len(fields) != 2 || fields[1] != "kB" {
		return 0, fmt.Errorf("%q is not a size in kB", strings.TrimSpace(text))
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/1024 {
		return 0, fmt.Errorf("%q is not a size in kB", fields[0])
	}
	return n * 1024, nil
}
