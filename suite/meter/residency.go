package meter

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unsafe"
)

// The parts of a process's memory. Together they are its resident set.
const (
	// PartFiles are the pages of the program and of its libraries that have been used.
	PartFiles = "program and libraries"
	// PartCode is code generated at run time: executable mappings without a file.
	PartCode = "generated code"
	// PartGo is the memory of the Go runtime: heap, stacks of goroutines, internal tables.
	PartGo = "Go heap and runtime"
	// PartNative is the memory of malloc, and the stacks of threads.
	PartNative = "native heap and stacks"
	// PartArena is the mapping with the size of the arena.
	PartArena = "arena"
)

// Parts lists the parts in the order in which they are printed.
func Parts() []string { return []string{PartArena, PartFiles, PartCode, PartGo, PartNative} }

// Residency is the resident memory of a process by part, in bytes.
type Residency map[string]int64

// Residency reads the resident memory by part. The arena is the anonymous mapping that can hold arenaBytes and has most of
// its pages in memory; with arenaBytes 0 there is no such part. It walks all pages of the process, some milliseconds per GiB.
func (p Process) Residency(arenaBytes int64) (Residency, error) {
	path := filepath.Join(p.Dir, "smaps")
	file, err := os.Open(path)
	if err != nil {
		return nil, p.failure("memory by part", err)
	}
	defer file.Close()
	all, err := readMappings(file)
	if err != nil {
		return nil, fmt.Errorf("memory by part: %s: %w", path, err)
	}
	if p == Self() {
		markHeap(all, heapAddress())
	}
	found := Residency{}
	arena := -1
	for i, m := range all {
		holds := arenaBytes > 0 && m.part() == PartNative && m.size >= arenaBytes
		if holds && (arena < 0 || m.resident > all[arena].resident) {
			arena = i
		}
	}
	for i, m := range all {
		part := m.part()
		if i == arena {
			part = PartArena
		}
		found[part] += m.resident
	}
	return found, nil
}

// mapping is an entry of smaps; sizes are bytes.
type mapping struct {
	begin, end     uint64
	permissions    string
	name           string // file, or a name in brackets; empty: anonymous
	size, resident int64
	heap           bool // of the Go runtime
}

// goHeapBegin and goHeapEnd are where the Go runtime asked for its heap on 64-bit systems with addresses of 48 bits until Go
// 1.26, which begins at a random address (heapAddress). Kernels that support names of anonymous mappings show them too.
const (
	goHeapBegin = 0x00c0 << 32
	goHeapEnd   = goHeapBegin + 1<<40
)

// heapAddress returns an address in the Go heap of this process.
func heapAddress() uint64 {
	object := make([]byte, 128<<10) // too large for a stack
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(object))))
}

// markHeap marks the anonymous mapping of an address and those that touch it: the runtime grows its heap upwards without gaps,
// and parts of it that are reserved or given back have other permissions.
func markHeap(all []mapping, address uint64) {
	at := slices.IndexFunc(all, func(m mapping) bool { return m.name == "" && m.begin <= address && address < m.end })
	if at < 0 {
		return
	}
	all[at].heap = true
	for i := at + 1; i < len(all) && all[i].name == "" && all[i].begin == all[i-1].end; i++ {
		all[i].heap = true
	}
	for i := at - 1; i >= 0 && all[i].name == "" && all[i].end == all[i+1].begin; i-- {
		all[i].heap = true
	}
}

func (m mapping) part() string {
	switch {
	case strings.HasPrefix(m.name, "/"):
		return PartFiles
	case m.heap, strings.HasPrefix(m.name, "[anon: Go"), m.begin >= goHeapBegin && m.end <= goHeapEnd:
		return PartGo
	case strings.HasPrefix(m.name, "[v"): // vdso, vvar, vsyscall: the kernel's
		return PartFiles
	case strings.Contains(m.permissions, "x"):
		return PartCode
	}
	return PartNative
}

func readMappings(r io.Reader) ([]mapping, error) {
	var all []mapping
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		switch {
		case name == "Rss" && len(all) > 0:
			n, err := parseKB(value)
			if err != nil {
				return nil, fmt.Errorf("field Rss: %w", err)
			}
			all[len(all)-1].resident = n
		case strings.Contains(strings.SplitN(name, " ", 2)[0], "-"):
			m, err := parseMapping(lines.Text())
			if err != nil {
				return nil, err
			}
			all = append(all, m)
		}
	}
	return slices.Clip(all), lines.Err()
}

// parseMapping reads the first line of an entry: "c000000000-c000400000 rw-p 00000000 00:00 0   [name]".
func parseMapping(line string) (mapping, error) {
	fields := strings.Fields(line)
	if len(fields) < 5 {
		return mapping{}, fmt.Errorf("%q is not the first line of a mapping", line)
	}
	begin, end, _ := strings.Cut(fields[0], "-")
	low, err := strconv.ParseUint(begin, 16, 64)
	high, errHigh := strconv.ParseUint(end, 16, 64)
	if err := errors.Join(err, errHigh); err != nil {
		return mapping{}, fmt.Errorf("%q: addresses: %w", line, err)
	}
	if high < low {
		return mapping{}, fmt.Errorf("%q: the mapping ends before it begins", line)
	}
	return mapping{begin: low, end: high, permissions: fields[1], name: strings.Join(fields[5:], " "), size: int64(high - low)}, nil
}
