//go:build slurm

package launch

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/sweepdir"
)

// cluster is a real Slurm of two nodes on this machine, by scripts/slurm-local.sh.
type cluster struct {
	t         *testing.T
	dir       string
	program   string
	arguments []string // of the sweep
}

// sh runs a command with the cluster's configuration and returns what it prints.
func (c cluster) sh(name string, args ...string) string {
	c.t.Helper()
	command := exec.Command(name, args...)
	command.Env = append(os.Environ(), "SLURM_CONF="+filepath.Join(c.dir, "slurm.conf"))
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		c.t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// try runs a command that may fail.
func (c cluster) try(name string, args ...string) error {
	command := exec.Command(name, args...)
	command.Env = append(os.Environ(), "SLURM_CONF="+filepath.Join(c.dir, "slurm.conf"))
	return command.Run()
}

func (c cluster) script(command string) {
	c.t.Helper()
	c.sh(filepath.Join("..", "scripts", "slurm-local.sh"), command, c.dir)
}

// until waits for a condition, which another process makes true.
func (c cluster) until(what string, holds func() bool) {
	c.t.Helper()
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	every := time.NewTicker(200 * time.Millisecond)
	defer every.Stop()
	for !holds() {
		select {
		case <-deadline.Done():
			c.t.Fatalf("not within ten minutes: %s\n%s", what, c.sh("squeue", "--array"))
		case <-every.C:
		}
	}
}

func (c cluster) states(out string) map[sweepdir.State][]sweepdir.Status {
	c.t.Helper()
	manifests, err := sweepdir.ReadAll(out)
	if err != nil {
		c.t.Fatal(err)
	}
	all, err := sweepdir.StatusOf(out, manifests)
	if err != nil {
		c.t.Fatal(err)
	}
	of := map[sweepdir.State][]sweepdir.Status{}
	for _, s := range all {
		of[s.State] = append(of[s.State], s)
	}
	return of
}

func (c cluster) submit(out string) {
	c.t.Helper()
	c.sh(c.program, append([]string{"run", "--launcher", "slurm", "--heartbeat", "1s", "--out", out}, c.arguments...)...)
}

// queued is the number of tasks in the queue.
func (c cluster) queued() int {
	c.t.Helper()
	return len(strings.Fields(c.sh("squeue", "--noheader", "--array", "--format=%K")))
}

// TestSlurmLosesNothing runs twelve cells through Slurm while one task is killed, one node drained and resumed, one task
// requeued, and the controller restarted. In the end all records equal those of an undisturbed local sweep in every field that
// is not measured.
func TestSlurmLosesNothing(t *testing.T) {
	c := cluster{t: t, dir: t.TempDir(), program: filepath.Join(t.TempDir(), "benchctl")}
	c.arguments = strings.Fields("--methods bp,dgl,auglocal --networks resnet20 --batch 16 --epochs 4 --train-limit 1024 " +
		"--test-limit 32 " +
		"--threads 1 --seeds 4")
	c.sh("go", "build", "-o", c.program, "../cmd/benchctl")
	if out, err := exec.Command(filepath.Join("..", "scripts", "slurm-local.sh"), "start", c.dir).CombinedOutput(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 3 {
			t.Skipf("Slurm can't be installed or does not run here: sweeps through it were not tested: %s", out)
		}
		t.Fatalf("slurm-local.sh start: %v: %s", err, out)
	}
	t.Cleanup(func() { c.script("stop") })
	alone, shared := filepath.Join(t.TempDir(), "alone"), filepath.Join(t.TempDir(), "shared")
	c.sh(c.program, append([]string{"run", "--quiet", "--jobs", "2", "--share-cores", "--out", alone}, c.arguments...)...)

	c.submit(shared)
	tasks := c.queued()
	c.submit(shared) // the same command while all cells are in the queue
	if again := c.queued(); again > tasks {
		t.Errorf("%d tasks in the queue, %d after the same command again: want no more", tasks, again)
	}
	running := func() []sweepdir.Status {
		var all []sweepdir.Status
		for _, s := range c.states(shared)[sweepdir.Running] {
			if s.Holder.Epoch > 0 && s.Holder.Epoch < s.Holder.Epochs {
				all = append(all, s)
			}
		}
		return all
	}
	// A cell may end between the look at its lease and what is done to it: then it is another one's turn.
	killed := ""
	c.until("a task that was killed", func() bool {
		for _, s := range running() { // the task's process, and the kernel ends the run's with it
			if p, err := os.FindProcess(s.Holder.PID); err == nil && p.Kill() == nil {
				killed = s.ID
				return true
			}
		}
		return false
	})
	c.until("a task that was requeued", func() bool {
		for _, s := range running() {
			if s.ID != killed && c.try("scontrol", "requeue", s.Holder.Job) == nil {
				return true
			}
		}
		return false
	})
	c.script("restart")
	c.sh("scontrol", "update", "nodename=n2", "state=drain", "reason=test")
	c.until("node 2 drained", func() bool { return strings.HasPrefix(c.sh("sinfo", "-h", "-n", "n2", "-o", "%t"), "drain") })
	c.until("node 2 resumed", func() bool { // not while it registers with the controller anew
		return c.try("scontrol", "update", "nodename=n2", "state=resume") == nil || !strings.HasPrefix(c.sh("sinfo", "-h", "-n", "n2", "-o", "%t"), "dr")
	})
	c.until("an empty queue", func() bool { return c.sh("squeue", "-h") == "" })
	// What was killed without a word waits: the same command submits it again, and nothing else.
	if done := len(c.states(shared)[sweepdir.Done]); done < 10 {
		t.Errorf("%d cells are done before the second submission, want all but those that were killed", done)
	}
	if left := c.states(shared); len(left[sweepdir.Waiting])+len(left[sweepdir.Running]) > 0 {
		c.until("no cell with a fresh lease", func() bool { return len(c.states(shared)[sweepdir.Running]) == 0 })
		c.submit(shared)
		c.until("an empty queue", func() bool { return c.sh("squeue", "-h") == "" })
	}
	if done := len(c.states(shared)[sweepdir.Done]); done != 12 {
		t.Fatalf("%d cells are done, want 12: %+v", done, c.states(shared))
	}
	expected, warnings, err := results.ReadDir(alone)
	if err != nil || len(warnings) > 0 || len(expected) != 12 {
		t.Fatalf("%d records of the local sweep, %v, %v", len(expected), warnings, err)
	}
	for _, want := range expected {
		got, err := results.Read(results.Path(shared, want.ID))
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(unmeasured(t, want), unmeasured(t, got)); diff != "" {
			t.Errorf("%s: alone and through Slurm differ (-alone +slurm):\n%s", want.ID, diff)
		}
	}
}

// unmeasured is a record without what is measured, as JSON has it.
func unmeasured(t *testing.T, r results.Record) (fields map[string]any) {
	t.Helper()
	r.Attempt, r.Started, r.Finished, r.Time, r.Environment = "", time.Time{}, time.Time{}, results.Time{}, results.Environment{}
	r.Memory.ProcessPeakBytes, r.Memory.ProcessBaselineBytes, r.Memory.TouchedBytes, r.Memory.DataBufferBytes = nil, nil, nil, nil
	for i := range r.Accuracy.Epochs {
		r.Accuracy.Epochs[i].Seconds = nil
	}
	text, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fields
}
