// Package hostmem reads how much memory this process may use on its host: the machine's memory, and the limits
// set by a container (memory cgroup, version 1 or 2) or the shell (ulimit).
//
// A process in a container sees the whole machine's memory in /proc/meminfo and is killed at its own limit, so
// "does it fit" depends on both. Limits of all cgroups from that of the process up to
// the root count, as in the kernel. /proc is read with github.com/prometheus/procfs.
package hostmem

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// Limit bounds the memory of this process, or of a group of processes that it is in.
type Limit struct {
	Name      string // "memory cgroup /docker/4f2a", "RLIMIT_AS (ulimit -v)"
	Bytes     int64  // the bound
	FreeBytes int64  // what is left of it; 0 if nothing
}

// Memory is the memory of the host.
type Memory struct {
	MachineBytes   int64   // all of the machine's
	AvailableBytes int64   // of it, what could be given to programs now (MemAvailable)
	Limits         []Limit // that are smaller than the machine, the smallest first
}

// Free is the memory that this process can still allocate: the minimum over the machine and the limits. By is the limit
// with the minimum; nil if it is the machine.
func (m Memory) Free() (bytes int64, by *Limit) {
	bytes = m.AvailableBytes
	for i, l := range m.Limits {
		if l.FreeBytes < bytes {
			bytes, by = l.FreeBytes, &m.Limits[i]
		}
	}
	return bytes, by
}

// Smallest is the smallest limit; nil if there is none.
func (m Memory) Smallest() *Limit {
	if len(m.Limits) == 0 {
		return nil
	}
	return &m.Limits[0]
}

// Explain describes in a sentence what bounds the free memory.
func (m Memory) Explain() string {
	free, by := m.Free()
	if by == nil {
		return fmt.Sprintf("%d bytes are free of the machine's %d", free, m.MachineBytes)
	}
	return fmt.Sprintf("%d bytes are free of the %d that %s allows", free, by.Bytes, by.Name)
}

// Read reads the memory of this host. The error is errors.ErrUnsupported if the system does not report it.
func Read() (Memory, error) { return Host{}.Read() }

// Host is a host with its files below Root. The zero value is this host; others are for tests.
type Host struct{ Root string }

// Read is the function Read for this host.
func (h Host) Read() (Memory, error) {
	fs, err := procfs.NewFS(h.Root + procfs.DefaultMountPoint)
	if err != nil {
		return Memory{}, fmt.Errorf("memory of the host: %w: %w", errors.ErrUnsupported, err)
	}
	info, err := fs.Meminfo()
	if err != nil {
		return Memory{}, fmt.Errorf("memory of the host: %w", err)
	}
	if info.MemTotalBytes == nil || info.MemAvailableBytes == nil {
		return Memory{}, fmt.Errorf("memory of the host: %w: no MemTotal and MemAvailable in /proc/meminfo", errors.ErrUnsupported)
	}
	m := Memory{MachineBytes: bound(*info.MemTotalBytes), AvailableBytes: bound(*info.MemAvailableBytes)}
	self, err := fs.Self()
	if err != nil {
		return Memory{}, fmt.Errorf("memory of the host: %w", err)
	}
	ofShell, err := resourceLimits(self)
	if err != nil {
		return Memory{}, fmt.Errorf("memory of the host: resource limits: %w", err)
	}
	ofGroups, err := h.groupLimits(self)
	if err != nil {
		return Memory{}, fmt.Errorf("memory of the host: cgroups: %w", err)
	}
	for _, l := range append(ofShell, ofGroups...) {
		if l.Bytes < m.MachineBytes {
			m.Limits = append(m.Limits, l)
		}
	}
	slices.SortStableFunc(m.Limits, func(a, b Limit) int { return cmp.Compare(a.Bytes, b.Bytes) })
	return m, nil
}

// resourceLimits are those of setrlimit(2) that count memory.
func resourceLimits(self procfs.Proc) ([]Limit, error) {
	limits, err := self.Limits()
	if err != nil {
		return nil, err
	}
	status, err := self.NewStatus()
	if err != nil {
		return nil, err
	}
	return []Limit{
		limit("RLIMIT_AS (ulimit -v)", limits.AddressSpace, status.VmSize),
		limit("RLIMIT_DATA (ulimit -d)", limits.DataSize, status.VmData),
	}, nil
}

// limit is a limit with the bytes that are used of it.
func limit(name string, bytes, used uint64) Limit {
	return Limit{Name: name, Bytes: bound(bytes), FreeBytes: bound(bytes - min(used, bytes))}
}

// bound turns "unlimited", which is above, into the largest number of bytes.
func bound(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// memoryFiles are the names of a version's files: the limit, what is used, and the part of that which the kernel
// drops before it kills a process, a line of memory.stat.
type memoryFiles struct{ limit, used, inactive string }

var (
	files1 = memoryFiles{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}
	files2 = memoryFiles{"memory.max", "memory.current", "inactive_file"}
)

// groupLimits are the limits of the memory cgroup that the process is in, and of those above it.
func (h Host) groupLimits(self procfs.Proc) (limits []Limit, err error) {
	groups, err := self.Cgroups()
	if errors.Is(err, os.ErrNotExist) { // a kernel without cgroups
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	mounts, err := self.MountInfo()
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		first := slices.Contains(g.Controllers, "memory")
		if !first && g.HierarchyID != 0 {
			continue
		}
		for _, m := range mounts {
			_, memory := m.SuperOptions["memory"]
			switch {
			case first && m.FSType == "cgroup" && memory:
				limits = append(limits, h.limitsUpwards(m, g.Path, files1)...)
			case !first && m.FSType == "cgroup2":
				limits = append(limits, h.limitsUpwards(m, g.Path, files2)...)
			}
		}
	}
	// One hierarchy may be mounted at several places.
	slices.SortStableFunc(limits, func(a, b Limit) int { return cmp.Compare(a.Name, b.Name) })
	return slices.CompactFunc(limits, func(a, b Limit) bool { return a.Name == b.Name && a.Bytes == b.Bytes }), nil
}

// limitsUpwards reads the limits from a group up to the root of a mount. A group that is not below the mount, as that
// of a container whose cgroup namespace is the host's, is the mount's root.
func (h Host) limitsUpwards(m *procfs.MountInfo, group string, names memoryFiles) (limits []Limit) {
	relative, err := filepath.Rel(m.Root, group)
	if err != nil || !filepath.IsLocal(relative) {
		relative = "."
	}
	for ; ; relative = filepath.Dir(relative) {
		dir := filepath.Join(h.Root, m.MountPoint, relative)
		bytes, ok := number(filepath.Join(dir, names.limit))
		used, counted := number(filepath.Join(dir, names.used))
		if ok && counted {
			used -= min(used, inactive(filepath.Join(dir, "memory.stat"), names.inactive))
			limits = append(limits, limit("memory cgroup "+filepath.Join("/", m.Root, relative), bytes, used))
		}
		if relative == "." {
			return limits
		}
	}
}

// number reads a file of one number; false if it is not there, or says "max".
func number(path string) (uint64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// inactive reads a line of a memory.stat file; 0 if it is not there.
func inactive(path, name string) uint64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
			return n
		}
	}
	return 0
}
