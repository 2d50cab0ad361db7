package suite

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/results"
)

// EnvironmentOf is the environment that a run of a spec would have here and now.
func EnvironmentOf(spec results.Spec) (results.Environment, error) {
	d, err := OpenDevice(spec)
	if err != nil {
		return results.Environment{}, err
	}
	defer d.Close()
	return environment(d), nil
}

// environment says where a run was made: what a comparison has to hold equal.
func environment(d engine.Device) results.Environment {
	e := results.Environment{Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH, CPU: Processor(), Libraries: d.Facts()}
	if n, err := strconv.ParseInt(e.Libraries["threads"], 10, 64); err == nil {
		e.Threads = &n
	}
	if bytes, ok := MachineBytes(); ok {
		e.MemoryBytes = &bytes
	}
	e.Version, e.Commit = build()
	return e
}

// build is the version and the commit that this program was built from; the commit is empty where the build does not tell.
func build() (version, commit string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", ""
	}
	version = info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			commit = s.Value
		}
		if s.Key == "vcs.modified" && s.Value == "true" {
			version += " with local changes"
		}
	}
	return version, commit
}

// Processor is the model name of the CPU; empty where the system does not tell.
func Processor() string {
	return procField("/proc/cpuinfo", "model name")
}

// MachineBytes is the memory of the machine.
func MachineBytes() (int64, bool) {
	kib, err := strconv.ParseInt(strings.TrimSuffix(procField("/proc/meminfo", "MemTotal"), " kB"), 10, 64)
	return kib * 1024, err == nil
}

// procField returns the first value of a "name : value" line of a file.
func procField(path, name string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
