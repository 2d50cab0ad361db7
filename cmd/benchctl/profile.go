package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/reports/figure"
	"github.com/localbench/localbench/reports/planned"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/timeline"
)

// profileFlags are those of `profile` alone.
type profileFlags struct {
	*shared
	steps     int
	tolerance float64
	export    string
}

func profileCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "profile",
		Short: "run a few steps and compare the plan with the memory that was used",
		Long: "profile plans the step of every run, runs a few of them in a separate process,\n" +
			"and compares the plan with the bytes of the arena that were overwritten (it is filled\n" +
			"with a canary pattern) and with the resident set of the process. A violated plan ends\n" +
			"with exit code 1. The data are synthetic: the cost of a step does not depend on them.",
		Example: "  benchctl profile --methods bp,auglocal --networks resnet32 --batch 256\n" +
			"  benchctl profile --methods bp,auglocal --networks resnet110 --export timeline",
		Args: noArguments,
	}
	f := &profileFlags{shared: addShared(c, "checks", "process", "residency", "definitions", "device", "kernels", "largest"), steps: 5, tolerance: 1}
	cli.Define(c.Flags(), "steps", "count", "5", "steps to time after the first", cli.One(&f.steps, cli.Number(1, 1000)))
	cli.Define(c.Flags(), "tolerance", "percent", "1",
		"maximum difference between the arena's resident memory and the plan", cli.One(&f.tolerance, cli.Real))
	cli.Define(c.Flags(), "export", "folder", "",
		"write the timelines there: Chrome trace (ui.perfetto.dev), CSV, PyTorch snapshot, plots", cli.Word(&f.export))
	c.RunE = func(c *cobra.Command, _ []string) error { return f.run(env, c) }
	return c
}

func (f *profileFlags) run(env Env, c *cobra.Command) error {
	request, format, err := f.expand(c)
	if err != nil {
		return err
	}
	runs, err := request.Build()
	if err != nil {
		return usage(err)
	}
	for _, r := range runs {
		if err := r.CheckRunnable(); err != nil {
			return usage(err)
		}
		if r.Spec.Backend == "reference" {
			return usage(errors.New("--backend reference: must be cpu or cuda: the reference has no arena to measure"))
		}
	}
	compiled := make([]*suite.Compiled, len(runs))
	for i, r := range runs {
		if compiled[i], err = r.CompileHere(env.host()); err != nil {
			return usage(fmt.Errorf("%s: %w", r.ID(), err))
		}
	}
	ctx, stop := interrupts(env, "the steps end")
	defer stop()
	var all []planned.Profiled
	var kept []*suite.Compiled
	var ended, cause error // why not all runs are among the results; why the first of the failed ones did
	failed := 0
	for i, run := range runs {
		s := run.Spec
		if env.IsTTY {
			fmt.Fprintf(env.Stderr, "profile %d of %d: %s\n", i+1, len(runs), planned.Label(s))
		}
		one := planned.Profiled{Plan: compiled[i].Plan(), Tolerance: f.tolerance, PageBytes: int64(os.Getpagesize())}
		found, err := env.runner("").Profile(ctx, s, f.steps)
		if err == nil {
			one.Found = *found
		}
		if err == nil && request.WorkspaceLimit > 0 {
			one.Unlimited, err = f.unlimited(ctx, env.runner(""), request, s)
		}
		if ctx.Err() != nil {
			ended = &suite.InterruptedError{Left: fmt.Sprintf("%d of %d runs were profiled", len(all), len(runs))}
			break
		}
		if err != nil {
			failed, cause = failed+1, cmp.Or(cause, err)
			ended = &suite.SweepError{Failed: failed, Total: len(runs), Cause: cause}
			continue
		}
		all, kept = append(all, one), append(kept, compiled[i])
	}
	if len(all) == 0 {
		return ended
	}
	a := answer{}
	var broken []string
	for _, p := range all {
		tables, faults := p.Tables()
		a.tables = append(a.tables, tables...)
		broken = append(broken, faults...)
	}
	if f.export != "" {
		if a.plots, err = export(env, f.export, kept, all); err != nil {
			return usage(err)
		}
	}
	var verdict error
	if len(broken) > 0 {
		verdict = &verdictError{"profile: the plan does not hold: " + broken[0]}
	}
	if err := env.emit(format, a, verdict); err != nil {
		return err
	}
	if ended != nil {
		return ended
	}
	if verdict == nil {
		fmt.Fprintf(env.Stderr, "verdict: the plan holds in %d of %d runs\n", len(all), len(all))
	}
	return verdict
}

// unlimited profiles the run of s once more without the limit of workspaces.
func (f *profileFlags) unlimited(ctx context.Context, r suite.Runner, request suite.Request, s results.Spec) (*results.Profile, error) {
	request.WorkspaceLimit, request.Methods = 0, []string{s.Method}
	request.Networks, request.Datasets, request.Batches = []string{s.Network}, []string{s.Dataset}, []int64{s.Batch}
	request.AuxDepths, request.Modules = []int{max(int(s.AuxDepth), 1)}, []int{int(s.Modules)}
	specs, err := request.Expand()
	if err != nil {
		return nil, err
	}
	return r.Profile(ctx, specs[0], f.steps)
}

// export writes the timelines of all runs, with the seconds of their ops where they have run, says so, and returns the files.
func export(env Env, dir string, all []*suite.Compiled, ran []planned.Profiled) ([]string, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, unwritten(fmt.Errorf("export: %w", err))
	}
	var files []string
	var steps []timeline.Step
	var lines []figure.Timeline
	save := func(name string, write func(io.Writer) error) error {
		path := filepath.Join(dir, name)
		if err := writeFile(path, write); err != nil {
			return fmt.Errorf("export: %s: %w", path, err)
		}
		files = append(files, path)
		return nil
	}
	for i, p := range all {
		var seconds []float64
		if ran != nil {
			seconds = ran[i].Found.OpSeconds
		}
		s := p.Timeline(planned.Label(p.Spec), seconds)
		steps = append(steps, s)
		lines = append(lines, figure.PlanTimeline(s.Label, p.Plan()))
		id := results.SpecID(p.Spec)
		if err := save(id+".timeline.csv", func(w io.Writer) error { return timeline.CSV(w, s) }); err != nil {
			return files, err
		}
		if err := save(id+".snapshot.pickle", func(w io.Writer) error { return timeline.Snapshot(w, s) }); err != nil {
			return files, err
		}
	}
	if err := save("timeline.trace.json", func(w io.Writer) error { return timeline.Chrome(w, steps...) }); err != nil {
		return files, err
	}
	drawn, err := figure.MemoryOverStep(lines)
	if err != nil {
		return files, err
	}
	for i, f := range drawn {
		saved, err := figure.Save(f, filepath.Join(dir, results.SpecID(all[i].Spec)+".timeline"))
		if err != nil {
			return files, err
		}
		files = append(files, saved...)
	}
	fmt.Fprintf(env.Stderr, "timelines: %d files in %s\n", len(files), dir)
	return files, nil
}
