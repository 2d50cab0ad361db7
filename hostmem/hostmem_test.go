package hostmem_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/localbench/localbench/hostmem"
)

const (
	gib  = 1 << 30
	none = "9223372036854771712" // what version 1 says where there is no limit
)

// host writes the files of a machine of 32 GiB, of which 20 are available, that runs this process with 3 GiB of
// address space and 1 GiB of data, and the files given.
func host(t *testing.T, files map[string]string) hostmem.Host {
	t.Helper()
	root := t.TempDir()
	all := map[string]string{
		"proc/meminfo":     "MemTotal: 33554432 kB\nMemFree: 1 kB\nMemAvailable: 20971520 kB\n",
		"proc/7/status":    "Name:\tbenchctl\nVmSize:\t 3145728 kB\nVmData:\t 1048576 kB\n",
		"proc/7/limits":    limits("unlimited", "unlimited"),
		"proc/7/cgroup":    "0::/\n",
		"proc/7/mountinfo": "22 1 0:1 / /proc rw - proc proc rw\n",
	}
	for name, content := range files {
		all[name] = content
	}
	for name, content := range all {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("7", filepath.Join(root, "proc/self")); err != nil {
		t.Fatal(err)
	}
	return hostmem.Host{Root: root}
}

// limits is the file /proc/self/limits.
func limits(data, space string) string {
	return "Limit                     Soft Limit           Hard Limit           Units     \n" +
		"Max data size             " + data + "            unlimited            bytes     \n" +
		"Max address space         " + space + "            unlimited            bytes     \n"
}

func TestRead(t *testing.T) {
	const (
		mount2 = "30 1 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
		mount1 = "35 1 0:3 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	)
	for _, c := range []struct {
		name   string
		files  map[string]string
		limits []hostmem.Limit
		free   int64
		by     string
	}{
		{"no limits", nil, nil, 20 * gib, ""},
		{"version 2: the limit of a container", map[string]string{
			"proc/7/mountinfo":         mount2,
			"proc/7/cgroup":            "0::/\n", // its own namespace
			"sys/fs/cgroup/memory.max": "4294967296\n", "sys/fs/cgroup/memory.current": "1610612736\n",
			"sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 536870912\nactive_file 7\n",
		}, []hostmem.Limit{{"memory cgroup /", 4 * gib, 3 * gib}}, 3 * gib, "memory cgroup /"},
		{"version 2: one above is smaller, and has less left", map[string]string{
			"proc/7/mountinfo":                  mount2,
			"proc/7/cgroup":                     "0::/user/job\n",
			"sys/fs/cgroup/user/job/memory.max": "8589934592\n", "sys/fs/cgroup/user/job/memory.current": "0\n",
			"sys/fs/cgroup/user/memory.max": "2147483648\n", "sys/fs/cgroup/user/memory.current": "2147483649\n",
			"sys/fs/cgroup/memory.stat": "anon 1\n",
		}, []hostmem.Limit{{"memory cgroup /user", 2 * gib, 0},
			{"memory cgroup /user/job", 8 * gib, 8 * gib}}, 0, "memory cgroup /user"},
		{"version 2: max is no limit", map[string]string{
			"proc/7/mountinfo": mount2, "proc/7/cgroup": "0::/a\n",
			"sys/fs/cgroup/a/memory.max": "max\n", "sys/fs/cgroup/a/memory.current": "1\n",
		}, nil, 20 * gib, ""},
		{"version 1, beside an empty version 2", map[string]string{
			"proc/7/mountinfo": mount1 + "41 1 0:4 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			"proc/7/cgroup":    "9:cpu:/\n4:memory:/docker/x\n0::/\n",
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "1073741824\n",
			"sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes": "805306368\n",
			"sys/fs/cgroup/memory/docker/x/memory.stat":           "inactive_file 1\ntotal_inactive_file 268435456\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":          none + "\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "1\n",
		}, []hostmem.Limit{{"memory cgroup /docker/x", gib, gib / 2}}, gib / 2, "memory cgroup /docker/x"},
		{"version 1: a container sees its group as the mount's root", map[string]string{
			"proc/7/mountinfo": "35 1 0:3 /docker/x /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
			"proc/7/cgroup":    "4:memory:/docker/x\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "0\n",
		}, []hostmem.Limit{{"memory cgroup /docker/x", gib, gib}}, gib, "memory cgroup /docker/x"},
		{"address space and data", map[string]string{"proc/7/limits": limits("2147483648", "6442450944")},
			[]hostmem.Limit{{"RLIMIT_DATA (ulimit -d)", 2 * gib, gib}, {"RLIMIT_AS (ulimit -v)", 6 * gib, 3 * gib}}, gib,
			"RLIMIT_DATA (ulimit -d)"},
		{"a limit above the machine's memory", map[string]string{"proc/7/limits": limits("unlimited", "68719476736")}, nil,
			20 * gib, ""},
	} {
		m, err := host(t, c.files).Read()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if m.MachineBytes != 32*gib || m.AvailableBytes != 20*gib || !slices.Equal(m.Limits, c.limits) {
			t.Errorf("%s: got %+v, want 32 GiB, 20 GiB, %+v", c.name, m, c.limits)
		}
		free, by := m.Free()
		if free != c.free || (by == nil) != (c.by == "") || by != nil && by.Name != c.by {
			t.Errorf("%s: got %d bytes free by %+v, want %d by %q", c.name, free, by, c.free, c.by)
		}
	}
	if _, err := (hostmem.Host{Root: t.TempDir()}).Read(); err == nil {
		t.Error("a system without /proc: got no error")
	}
}

// TestUnderLimit runs this test's program with a limit on its address space, and has it read it.
func TestUnderLimit(t *testing.T) {
	const bytes = 4 * gib
	if os.Getenv("HOSTMEM_CHILD") != "" {
		m, err := hostmem.Read()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(m.Limits, func(l hostmem.Limit) bool { return l.Name == "RLIMIT_AS (ulimit -v)" })
		if i < 0 || m.Limits[i].Bytes != bytes || m.Limits[i].FreeBytes <= 0 || m.Limits[i].FreeBytes >= bytes {
			t.Errorf("got %+v, want a limit of %d bytes, partly used", m.Limits, bytes)
		}
		return
	}
	m, err := hostmem.Read()
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "linux" || m.MachineBytes <= bytes {
		t.Skip("limits are read on Linux, on machines of more than 4 GiB: a limit was not set")
	}
	child := exec.Command("sh", "-c", "ulimit -v "+strconv.Itoa(bytes>>10)+` && exec "$0" -test.run '^TestUnderLimit$'`, os.Args[0])
	child.Env = append(os.Environ(), "HOSTMEM_CHILD=1")
	if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("%v: %s", err, out)
	}
}
