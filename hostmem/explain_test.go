package hostmem_test

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/localbench/localbench/hostmem"
)

// What bounds the free memory is the machine or the limit with the least left, which need not be the smallest limit.
func TestExplain(t *testing.T) {
	for _, c := range []struct {
		limits   []hostmem.Limit
		free     int64
		smallest string
		want     string
	}{
		{nil, 60, "", "60 bytes are free of the machine's 100"},
		{[]hostmem.Limit{{"a", 90, 70}}, 60, "a", "60 bytes are free of the machine's 100"},
		{[]hostmem.Limit{{"a", 50, 45}, {"b", 80, 10}}, 10, "a", "10 bytes are free of the 80 that b allows"},
		{[]hostmem.Limit{{"a", 50, 0}}, 0, "a", "0 bytes are free of the 50 that a allows"},
	} {
		m := hostmem.Memory{MachineBytes: 100, AvailableBytes: 60, Limits: c.limits}
		free, _ := m.Free()
		if free != c.free || m.Explain() != c.want {
			t.Errorf("%v: got %d, %q, want %d, %q", c.limits, free, m.Explain(), c.free, c.want)
		}
		smallest := m.Smallest()
		if (smallest == nil) != (c.smallest == "") || smallest != nil && smallest.Name != c.smallest {
			t.Errorf("%v: the smallest is %v, want %q", c.limits, smallest, c.smallest)
		}
	}
}

// A system without the files, or with files that do not say it, is an error and not a machine without memory.
func TestUnreadableHost(t *testing.T) {
	if m, err := (hostmem.Host{Root: t.TempDir()}).Read(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("no /proc: got %v, %v", m, err)
	}
	old := host(t, map[string]string{"proc/meminfo": "MemTotal: 1 kB\nMemFree: 1 kB\n"}) // a kernel before MemAvailable
	if m, err := old.Read(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("no MemAvailable: got %v, %v", m, err)
	}
	for _, name := range []string{"meminfo", "7/cgroup", "7/mountinfo"} {
		damaged := host(t, map[string]string{"proc/" + name: "x: y z\n"})
		if m, err := damaged.Read(); err == nil {
			t.Errorf("%s that cannot be read: got %+v", name, m)
		}
	}
}

// Processor is the model in /proc/cpuinfo, where that has one.
func TestProcessor(t *testing.T) {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Skip(err)
	}
	want := ""
	if m := regexp.MustCompile(`(?m)^model name\s*:(.*)$`).FindSubmatch(text); m != nil {
		want = strings.TrimSpace(string(m[1]))
	}
	if got := hostmem.Processor(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
