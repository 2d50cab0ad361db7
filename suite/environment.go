package suite

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/hostmem"
	"github.com/localbench/localbench/results"
)

// Environment is the environment that the run would have here and now.
func (r *Run) Environment(h Host) (results.Environment, error) {
	d, err := r.OpenDevice(h)
	if err != nil {
		return results.Environment{}, err
	}
	defer d.Close()
	return environment(d), nil
}

// environment says where a run was made: what a comparison has to hold equal.
func environment(d engine.Device) results.Environment {
	e := results.Environment{Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH, CPU: hostmem.Processor(),
		Libraries: d.Facts()}
	if n, err := strconv.ParseInt(e.Libraries["threads"], 10, 64); err == nil {
		e.Threads = &n
	}
	if host, err := hostmem.Read(); err == nil {
		e.MemoryBytes = &host.MachineBytes
		if l := host.Smallest(); l != nil {
			e.MemoryLimitBytes, e.MemoryLimit = &l.Bytes, l.Name
		}
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
			version += results.WithLocalChanges
		}
	}
	return version, commit
}

// underLimit names the smallest limit on memory here, in brackets for the end of a sentence; empty if there is none.
func underLimit() string {
	host, err := hostmem.Read()
	if err != nil || host.Smallest() == nil {
		return ""
	}
	return fmt.Sprintf(" (%s allows %d bytes)", host.Smallest().Name, host.Smallest().Bytes)
}
