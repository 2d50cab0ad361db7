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

// Memory is the physical memory of a process. A field is nil where the system
// does not tell it.
//
// Note that the kernel counts pages for each processor apart and adds them up
// now and then, so that both figures may be some hundred KiB off.
type Memory struct {
	// ResidentBytes is what is in memory now (VmRSS).
	ResidentBytes *int64
	// PeakBytes is the most there was since the start or the last ResetPeak (VmHWM).
	PeakBytes *int64
	// PageTableBytes is what the tables of its pages take (VmPTE), which is no part of the above.
	PageTableBytes *int64
	// DataBytes is its private writable address space (VmData), resident or not: what RLIMIT_DATA bounds.
	DataBytes *int64
}

// Process is a process as Linux shows it in a folder. Where there is no such
// folder, on other systems, every method's error is errors.ErrUnsupported.
type Process struct {
	// Dir is its folder, such as /proc/self.
	Dir string
}

// Self is the process that runs.
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
			return Memory{}, fmt.Errorf("meter: memory: %s: %s: %w", path, name, err)
		}
		*field = &size
	}
	if err := lines.Err(); err != nil {
		return Memory{}, fmt.Errorf("meter: memory: %s: %w", path, err)
	}
	return m, nil
}

// ResetPeak sets the peak to what is resident now, so that the next reading
// tells the peak of what comes after. Memory that the Go runtime keeps for later
// stays resident; giving it back first is the caller's business.
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

// failure makes an absent file into errors.ErrUnsupported, since that is how a
// system without it shows.
func (p Process) failure(what string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("meter: %s: %w on this system: got no %s, want Linux with /proc", what, errors.ErrUnsupported, p.Dir)
	}
	return fmt.Errorf("meter: %s: %w", what, err)
}

// parseKB reads a size as /proc writes it, "  1234 kB", where a kB is 1024 bytes.
func parseKB(text string) (int64, error) {
	fields := strings.Fields(text)
	if len(fields) != 2 || fields[1] != "kB" {
		return 0, fmt.Errorf("got %q, want a number and kB", strings.TrimSpace(text))
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/1024 {
		return 0, fmt.Errorf("got %q, want a number of kB", fields[0])
	}
	return n * 1024, nil
}
