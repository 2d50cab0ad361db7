package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/sweepdir"
)

// The launchers of a sweep.
const (
	Local   = "local" // this process; not of this package
	BySlurm = "slurm"
	ByK8s   = "k8s"
	Print   = "print"
)

// Launchers lists them.
func Launchers() []string { return []string{Local, BySlurm, ByK8s, Print} }

// Options say how a sweep is launched.
type Options struct {
	Launcher    string
	OnOOM       string // one of suite's OnOOM constants
	Pass        []string
	AtATime     int
	NodeBytes   int64 // memory of the largest machine; 0: asked of Slurm, or not known
	GPUBytes    int64
	RetryFailed bool
	Limit       time.Duration // of a cell; 0: none
	MemoryLimit int64         // of a cell's process, in bytes; 0: none
	Heartbeat   time.Duration
	Kubernetes  Kubernetes
	Measured    []results.Record // whose step times are used
	Program     string           // argv[0] of benchctl
}

// Check tests the values that belong together.
func (o Options) Check() error {
	switch policies := suite.OnOOMPolicies(); {
	case !slices.Contains(Launchers(), o.Launcher):
		return fmt.Errorf("--launcher %q: must be %s", o.Launcher, strings.Join(Launchers(), ", "))
	case !slices.Contains(policies, o.OnOOM):
		return fmt.Errorf("--on-oom %q: must be %s", o.OnOOM, strings.Join(policies, ", "))
	case o.Heartbeat < time.Second:
		return fmt.Errorf("--heartbeat %s: must be at least 1s", o.Heartbeat)
	case o.Launcher == ByK8s && (o.Kubernetes.Image == "" || o.Kubernetes.Claim == ""):
		return errors.New("--launcher k8s: needs --image and --claim")
	}
	return nil
}

// Start writes the manifest of runs into the runner's folder and hands the cells that wait to the launcher. Commands and
// manifests of Print and ByK8s are written to w; the table is of the jobs of BySlurm. warn is told of cells that no machine can
// run, which are recorded as out of memory.
func (o Options) Start(ctx context.Context, h suite.Host, r suite.Runner, runs []*suite.Run, w io.Writer,
	warn func(string)) (*table.Table, error) {
	slurm, err := o.slurm()
	if err != nil {
		return nil, err
	}
	if o.Launcher == BySlurm && o.NodeBytes == 0 {
		if o.NodeBytes, err = slurm.Node(ctx); err != nil {
			return nil, err
		}
	}
	d, err := runs[0].OpenDevice(h)
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	cells, err := suite.Cells(d, runs, r.JobOptions, o.Measured, o.NodeBytes, o.GPUBytes)
	d.Close()
	if err != nil {
		return nil, err
	}
	s, err := o.write(r, cells)
	if err != nil {
		return nil, err
	}
	todo, err := o.todo(r, s.Manifest, warn)
	if err != nil {
		return nil, err
	}
	if o.Launcher == BySlurm {
		queued, err := slurm.queued(ctx, r.Out)
		if err != nil {
			return nil, err
		}
		waits, n := todo, 0
		for _, c := range s.Manifest.Cells {
			if waits(c) && queued[c.ID] {
				n++
			}
		}
		if n > 0 {
			warn(english.Plural(n, "cell is", "cells are") + " in the queue of Slurm already: not submitted again")
		}
		todo = func(c sweepdir.Cell) bool { return waits(c) && !queued[c.ID] }
	}
	switch o.Launcher {
	case Print:
		for _, line := range s.Lines(todo) {
			if _, err := fmt.Fprintln(w, line); err != nil {
				return nil, err
			}
		}
		return nil, nil
	case ByK8s:
		o.Kubernetes.AtATime = o.AtATime
		text, err := o.Kubernetes.Manifests(s, todo)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		return nil, err
	}
	t := table.Table{ID: "jobs", Title: "Submitted",
		Columns: []table.Column{table.TextColumn("job", "job"), table.NumberColumn("cells", "cells"),
			table.NumberColumn("memory_bytes", "memory"), table.NumberColumn("threads", "threads"),
			table.NumberColumn("seconds", "time limit")},
		Notes: []string{"benchctl status " + r.Out + " says how far the sweep is"}}
	for _, class := range Parts(s.Classes(todo), slurm.maxArraySize(ctx)) {
		job, err := slurm.Submit(ctx, slurm.Script(s, class))
		if err != nil {
			return nil, err
		}
		kept := submission{Job: job}
		for _, i := range class.Cells {
			kept.Cells = append(kept.Cells, s.Manifest.Cells[i].ID)
		}
		if err := kept.write(r.Out); err != nil {
			return nil, err
		}
		t.Rows = append(t.Rows, []table.Cell{table.Text(job), table.PlainCell(int64(len(class.Cells))),
			table.BytesCell(&class.MemoryBytes), table.PlainCell(class.Threads),
			table.Number(float64(class.Seconds), (time.Duration(class.Seconds) * time.Second).String())})
	}
	return &t, nil
}

// write writes the manifest.
func (o Options) write(r suite.Runner, cells []sweepdir.Cell) (s Sweep, err error) {
	if s.Out, err = filepath.Abs(r.Out); err != nil {
		return s, fmt.Errorf("out: %w", err)
	}
	data, err := filepath.Abs(r.DataDir)
	if err != nil {
		return s, fmt.Errorf("data-dir: %w", err)
	}
	s.Manifest = sweepdir.Manifest{Schema: sweepdir.Schema, DataDir: data, Init: r.Init, SaveWeights: r.SaveWeights,
		EvalHeads: r.EvalHeads, Profile: r.JobOptions.Profile, OnOOM: o.OnOOM, HeartbeatSeconds: o.Heartbeat.Seconds(), Cells: cells}
	if s.Path, err = s.Manifest.Write(s.Out); err != nil {
		return s, err
	}
	s.Program = []string{o.Program}
	if o.Launcher == ByK8s { // paths are those in the container
		s.Program, s.Out = []string{"benchctl"}, o.Kubernetes.Mount+"/"+filepath.Base(s.Out)
	}
	if o.RetryFailed {
		s.Options = append(s.Options, "--retry-failed")
	}
	if o.Limit > 0 {
		s.Options = append(s.Options, "--limit-time", o.Limit.String())
	}
	if o.MemoryLimit > 0 {
		s.Options = append(s.Options, "--limit-memory", fmt.Sprintf("%dB", o.MemoryLimit))
	}
	return s, nil
}

// todo chooses the cells to submit: those that wait, and with RetryFailed those that failed. What no machine can run is recorded
// as out of memory.
func (o Options) todo(r suite.Runner, m sweepdir.Manifest, warn func(string)) (func(sweepdir.Cell) bool, error) {
	states, err := sweepdir.StatusOf(r.Out, []sweepdir.Manifest{m})
	if err != nil {
		return nil, err
	}
	submit, w := map[string]bool{}, suite.Worker{Runner: r}
	for _, s := range states {
		submit[s.ID] = s.State == sweepdir.Waiting || s.State == sweepdir.Failed && o.RetryFailed
		if s.State == sweepdir.Refused {
			warn(s.ID + ": " + s.Reason)
			if err := w.Refuse(m, s.Cell); err != nil {
				return nil, err
			}
		}
	}
	return func(c sweepdir.Cell) bool { return submit[c.ID] }, nil
}

// slurm are the options of Slurm.
func (o Options) slurm() (s Slurm, err error) {
	s = Slurm{Arrays: o.AtATime, Pass: map[string]string{}}
	for _, setting := range o.Pass {
		name, value, _ := strings.Cut(strings.TrimLeft(setting, "-"), "=")
		if name == "" || strings.ContainsAny(setting, "\n\r") {
			return s, fmt.Errorf("--slurm %q: must be KEY=VALUE", setting)
		}
		s.Pass[name] = value
	}
	return s, nil
}
