package meter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// OutOfMemoryKills is the number of processes of this process's control group that the kernel has killed for lack of memory,
// of the group or of the machine. If the group does not report it, it is the count of the whole machine. The error is
// errors.ErrUnsupported if neither is known.
func OutOfMemoryKills() (int64, error) { return outOfMemoryKills("/") }

func outOfMemoryKills(root string) (int64, error) {
	groups, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		groups = nil
	}
	var files []string
	for line := range strings.Lines(string(groups)) {
		// hierarchy:controllers:path; version 2 has no controllers
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 {
			continue
		}
		folder, name := "", "memory.events"
		if fields[1] == "memory" {
			folder, name = "memory", "memory.oom_control"
		} else if fields[1] != "" {
			continue
		}
		// A container may see its own group at the top of the hierarchy.
		for _, path := range []string{fields[2], "/"} {
			files = append(files, filepath.Join(root, "sys/fs/cgroup", folder, path, name))
		}
	}
	for _, path := range append(files, filepath.Join(root, "proc/vmstat")) {
		if text, err := os.ReadFile(path); err == nil {
			if n, ok := counter(string(text), "oom_kill"); ok {
				return n, nil
			}
		}
	}
	return 0, fmt.Errorf("number of out-of-memory kills: %w on this system", errors.ErrUnsupported)
}

// counter parses a line "name value".
func counter(text, name string) (int64, bool) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
