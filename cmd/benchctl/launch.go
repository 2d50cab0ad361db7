package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/launch"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/sweepdir"
)

// The launchers of a sweep.
const (
	launcherLocal = "local"
	launcherSlurm = "slurm"
	launcherK8s   = "k8s"
	launcherPrint = "print"
)

// launchFlags are those of a sweep that other processes run.
type launchFlags struct {
	launcher, onOOM  string
	slurm, times     []string
	node, gpu        int64 // bytes of the largest machine, and of the largest GPU
	atATime          int
	retryFailed      bool
	limit, heartbeat time.Duration
	kubernetes       launch.Kubernetes
}

// addLaunch defines the flags.
func addLaunch(flags *pflag.FlagSet) *launchFlags {
	f := &launchFlags{launcher: launcherLocal, onOOM: suite.OnOOMSkip, heartbeat: 20 * time.Second,
		kubernetes: launch.Kubernetes{Mount: "/sweep"}}
	cli.Define(flags, "launcher", "name", f.launcher,
		"what starts the runs: local: this process; slurm: sbatch, an array job for each class of like runs; k8s: prints indexed "+
			"jobs; "+
			"print: prints a shell command for each run. For all but local, docs/scaling.md", cli.Word(&f.launcher))
	cli.Define(flags, "slurm", "settings", "",
		"options of sbatch by name, comma separated, such as partition=gpu,account=x; they replace ours of the same name",
		cli.Words(&f.slurm))
	cli.Define(flags, "at-a-time", "cells", "0", "with --launcher slurm: cells of an array that run at a time; 0: as many as "+
		"there is room for",
		cli.One(&f.atATime, cli.Number(0, 1<<20)))
	cli.Define(flags, "node-memory", "size", "",
		"memory of the largest machine (slurm: asked of sinfo): runs that need more are not submitted, and recorded as out of memory",
		cli.One(&f.node, cli.Size))
	cli.Define(flags, "gpu-memory", "size", "", "the same of the largest GPU", cli.One(&f.gpu, cli.Size))
	cli.Define(flags, "times", "paths", "", "records with measured step times, comma separated, by which time is asked for",
		cli.Words(&f.times))
	cli.Define(flags, "on-oom", "name", f.onOOM, "what to do with a run that is out of memory: skip; halve-batch; or budget: "+
		"recompute more",
		cli.Word(&f.onOOM))
	flags.BoolVar(&f.retryFailed, "retry-failed", false, "with another launcher than local: submit runs again that failed")
	flags.DurationVar(&f.limit, "limit-time", 0, "with another launcher than local: stop a run that takes longer, such as 4h; "+
		"its state is kept")
	flags.DurationVar(&f.heartbeat, "heartbeat", f.heartbeat, "time between two signs of life of a run; without three of them "+
		"another process may go on with it")
	cli.Define(flags, "image", "name", "", "with --launcher k8s: image of the container, with benchctl",
		cli.Word(&f.kubernetes.Image))
	cli.Define(flags, "claim", "name", "", "with --launcher k8s: persistent volume claim with --out and --data-dir",
		cli.Word(&f.kubernetes.Claim))
	cli.Define(flags, "mount", "folder", f.kubernetes.Mount, "with --launcher k8s: where the claim is mounted",
		cli.Word(&f.kubernetes.Mount))
	cli.Define(flags, "namespace", "name", "", "with --launcher k8s: of the jobs", cli.Word(&f.kubernetes.Namespace))
	return f
}

// check tests the values that belong together.
func (f *launchFlags) check(c *cobra.Command) error {
	all := []string{launcherLocal, launcherSlurm, launcherK8s, launcherPrint}
	switch policies := []string{suite.OnOOMSkip, suite.OnOOMHalve, suite.OnOOMBudget}; {
	case !slices.Contains(all, f.launcher):
		return fmt.Errorf("--launcher %q: must be %s", f.launcher, strings.Join(all, ", "))
	case !slices.Contains(policies, f.onOOM):
		return fmt.Errorf("--on-oom %q: must be %s", f.onOOM, strings.Join(policies, ", "))
	case f.heartbeat < time.Second:
		return fmt.Errorf("--heartbeat %s: must be at least 1s", f.heartbeat)
	case f.launcher == launcherK8s && (f.kubernetes.Image == "" || f.kubernetes.Claim == ""):
		return errors.New("--launcher k8s: needs --image and --claim")
	}
	of := map[string][]string{launcherSlurm: {"slurm", "at-a-time"}, launcherK8s: {"image", "claim", "mount", "namespace"}}
	if f.launcher == launcherLocal {
		of["another launcher than local"] = []string{"node-memory", "gpu-memory", "times", "on-oom", "retry-failed", "limit-time",
			"heartbeat"}
	}
	for launcher, names := range of {
		for _, name := range names {
			if launcher != f.launcher && c.Flags().Changed(name) {
				return fmt.Errorf("--%s: is for --launcher %s", name, launcher)
			}
		}
	}
	return nil
}

// launch writes the manifest of the runs and hands it to the launcher.
func (f *launchFlags) launch(env Env, o suite.Runner, runs []*suite.Run, format *output) error {
	ctx, stop := interrupts(env, "no more jobs are submitted")
	defer stop()
	slurm, err := f.slurmOptions()
	if err != nil {
		return usage(err)
	}
	if f.launcher == launcherSlurm && f.node == 0 {
		if f.node, err = slurm.Node(ctx); err != nil {
			return usage(err)
		}
	}
	var measured []results.Record
	if len(f.times) > 0 {
		if measured, err = readAll(env, f.times); err != nil {
			return err
		}
	}
	d, err := runs[0].OpenDevice(env.host())
	if err != nil {
		return usage(fmt.Errorf("backend: %w", err))
	}
	cells, err := suite.Cells(d, runs, o.JobOptions, measured, f.node, f.gpu)
	d.Close()
	if err != nil {
		return usage(err)
	}
	s, err := f.sweep(env, o, cells)
	if err != nil {
		return err
	}
	todo, err := f.todo(env, o, s.Manifest)
	if err != nil {
		return err
	}
	classes := s.Classes(todo)
	switch f.launcher {
	case launcherPrint:
		for _, line := range s.Lines(todo) {
			fmt.Fprintln(env.Stdout, line)
		}
		return nil
	case launcherK8s:
		text, err := f.kubernetes.Manifests(s, classes)
		if err == nil {
			_, err = fmt.Fprint(env.Stdout, text)
		}
		return err
	}
	t := table.Table{ID: "jobs", Title: "Submitted", Columns: []table.Column{table.TextColumn("job", "job"),
		table.NumberColumn("cells", "cells"),
		table.NumberColumn("memory_bytes", "memory"), table.NumberColumn("threads", "threads"), table.NumberColumn("seconds",
			"time limit")},
		Notes: []string{"benchctl status " + o.Out + " says how far the sweep is"}}
	for _, class := range classes {
		job, err := slurm.Submit(ctx, slurm.Script(s, class))
		if err != nil {
			return usage(err)
		}
		t.Rows = append(t.Rows, []table.Cell{table.Text(job), table.Number(float64(len(class.Cells)), fmt.Sprint(len(class.Cells))),
			table.BytesCell(&class.MemoryBytes), table.PlainCell(class.Threads),
			table.Number(float64(class.Seconds), (time.Duration(class.Seconds) * time.Second).String())})
	}
	return env.emit(format, answer{tables: []table.Table{t}}, nil)
}

// sweep writes the manifest.
func (f *launchFlags) sweep(env Env, o suite.Runner, cells []sweepdir.Cell) (s launch.Sweep, err error) {
	if s.Out, err = filepath.Abs(o.Out); err != nil {
		return s, usage(fmt.Errorf("out: %w", err))
	}
	data, err := filepath.Abs(o.DataDir)
	if err != nil {
		return s, usage(fmt.Errorf("data-dir: %w", err))
	}
	s.Manifest = sweepdir.Manifest{Schema: sweepdir.Schema, DataDir: data, Init: o.Init, SaveWeights: o.SaveWeights,
		EvalHeads: o.EvalHeads,
		OnOOM:     f.onOOM, HeartbeatSeconds: f.heartbeat.Seconds(), Cells: cells}
	if s.Path, err = s.Manifest.Write(s.Out); err != nil {
		return s, unwritten(err)
	}
	s.Program = []string{env.Program}
	if f.launcher == launcherK8s { // paths are those in the container
		s.Program, s.Out = []string{"benchctl"}, f.kubernetes.Mount+"/"+filepath.Base(s.Out)
	}
	if f.retryFailed {
		s.Options = append(s.Options, "--retry-failed")
	}
	if f.limit > 0 {
		s.Options = append(s.Options, "--limit-time", f.limit.String())
	}
	return s, nil
}

// todo chooses the cells to submit: those that wait, and with --retry-failed those that failed. What no machine can run is
// recorded as out of memory.
func (f *launchFlags) todo(env Env, o suite.Runner, m sweepdir.Manifest) (func(sweepdir.Cell) bool, error) {
	states, err := sweepdir.StatusOf(o.Out, []sweepdir.Manifest{m})
	if err != nil {
		return nil, usage(err)
	}
	submit, w := map[string]bool{}, suite.Worker{Runner: o}
	for _, s := range states {
		submit[s.ID] = s.State == sweepdir.Waiting || s.State == sweepdir.Failed && f.retryFailed
		if s.State == sweepdir.Refused {
			warn(env.Stderr, s.ID+": "+s.Reason)
			if err := w.Refuse(s.Cell); err != nil {
				return nil, unwritten(err)
			}
		}
	}
	return func(c sweepdir.Cell) bool { return submit[c.ID] }, nil
}

// slurmOptions are those of --slurm.
func (f *launchFlags) slurmOptions() (o launch.Slurm, err error) {
	o = launch.Slurm{Arrays: f.atATime, Pass: map[string]string{}}
	for _, setting := range f.slurm {
		name, value, _ := strings.Cut(strings.TrimLeft(setting, "-"), "=")
		if name == "" || strings.ContainsAny(setting, "\n\r") {
			return o, fmt.Errorf("--slurm %q: must be KEY=VALUE", setting)
		}
		o.Pass[name] = value
	}
	return o, nil
}
