package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// smallSet shortens the data of the runs of these tests: their probes and their runs.
var smallSet = []string{"--networks", "resnet20", "--methods", "bp", "--threads", "1",
	"--train-limit", "600", "--test-limit", "50"}

// fittedBatch is what plan --fit-process finds.
func fittedBatch(t *testing.T, size, limit string) int {
	t.Helper()
	args := append([]string{"plan", "--fit-process", size, "--process-limit", limit, "--format", "json"}, smallSet...)
	out, err := exec.Command("benchctl", args...).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var p planJSON
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	if len(p.Tables) != 1 || p.Tables[0].ID != "fit" || len(p.Tables[0].Rows) != 1 {
		t.Fatalf("got %s", out)
	}
	return int(*p.Tables[0].Rows[0]["batch"].Value)
}

// runUnder starts a run with the batch under a limit that the shell command sets first.
func runUnder(t *testing.T, limit string, batch int) (string, error) {
	t.Helper()
	args := append([]string{"run", "--batch", fmt.Sprint(batch), "--epochs", "2", "--quiet",
		"--out", filepath.Join(t.TempDir(), "runs")}, smallSet...)
	command := exec.Command("sh", append([]string{"-c", limit + ` && exec benchctl "$@"`, "sh"}, args...)...)
	out, err := command.CombinedOutput()
	return string(out), err
}

// holds checks that the batch that was found runs under the limit, and that the limit is one: twice the batch does not run.
func holds(t *testing.T, limit string, batch int) {
	t.Helper()
	if out, err := runUnder(t, limit, batch); err != nil {
		t.Errorf("batch %d: %v: %s", batch, err, out)
	}
	if out, err := runUnder(t, limit, 2*batch); err == nil {
		t.Errorf("batch %d, twice what fits, ran too: the limit does nothing: %s", 2*batch, out)
	} else {
		t.Logf("batch %d runs, batch %d: %v", batch, 2*batch, err)
	}
}

// A batch that --fit-process finds for RLIMIT_DATA runs under it (ulimit -d, prlimit --data).
func TestFitProcessUnderADataLimit(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no RLIMIT_DATA that counts mappings: the fit under a data limit was not tested")
	}
	const mib = 380
	holds(t, fmt.Sprintf("ulimit -d %d", mib<<10), fittedBatch(t, fmt.Sprint(mib, "MiB"), "data"))
}

// A batch that --fit-process finds for a container runs in a control group with that memory.
func TestFitProcessInAContainer(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the fit in a container was not tested")
	}
	const mib = 220
	group := controlGroup(t, mib<<20)
	holds(t, fmt.Sprintf("echo $$ >%s/cgroup.procs", group), fittedBatch(t, fmt.Sprint(mib, "MiB"), "container"))
}

// controlGroup makes a control group below our own with a limit of memory, and no swap where it can be told so. It skips the test
// where the system does not let us.
func controlGroup(t *testing.T, bytes int) string {
	t.Helper()
	skip := func(why any) {
		t.Skipf("no control group can be made (%v): the fit in a container was not tested", why)
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		skip(err)
	}
	for line := range strings.Lines(string(text)) { // hierarchy:controllers:path
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 {
			continue
		}
		mount, limit, swap := "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes" // version 1
		switch {
		case fields[0] == "0" && fields[1] == "": // version 2
			mount, limit, swap = "/sys/fs/cgroup", "memory.max", "memory.swap.max"
		case fields[1] != "memory":
			continue
		}
		group := filepath.Join(mount, fields[2], fmt.Sprintf("benchctl-test-%d", os.Getpid()))
		if os.Mkdir(group, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(group) })
		if os.WriteFile(filepath.Join(group, limit), []byte(fmt.Sprint(bytes)), 0o644) != nil {
			continue
		}
		most := bytes // of memory and swap together in version 1
		if limit == "memory.max" {
			most = 0
		}
		_ = os.WriteFile(filepath.Join(group, swap), []byte(fmt.Sprint(most)), 0o644) // not there without swap accounting
		return group
	}
	skip("memory is not controlled here, or not by us")
	return ""
}
