package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/reports/catalog"
	"github.com/localbench/localbench/reports/gate"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/baseline"
	"github.com/localbench/localbench/suite"
)

func baselineCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "baseline",
		Short: "records to compare with, kept in git: update, check, list or show them",
		Long: "A baseline is a file of records that is kept in git and reviewed like code, one record per\n" +
			"line: measured records, or planned memory, which needs no run. NAME means\n" +
			"results/baselines/NAME.json; an argument with a slash or ending in .json is a path.\n" +
			"memory is the planned memory of every network with every method; memory-h100 is the same\n" +
			"for that GPU, and needs the CUDA backend but no GPU.",
		Args: noArguments,
	}
	c.RunE = func(*cobra.Command, []string) error {
		return &usageError{errors.New("baseline: a command is missing: update, check, list or show"),
			"benchctl baseline --help says what they do"}
	}
	c.AddCommand(baselineUpdate(env), baselineCheck(env), baselineList(env), baselineShow(env))
	return c
}

// oneBaseline is the argument check of commands that take one baseline.
func oneBaseline(c *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return &usageError{fmt.Errorf("baseline %s: %d arguments: give one NAME or FILE", c.Name(), len(args)),
		c.CommandPath() + " --help lists the flags"}
}

// grid is what a baseline of planned memory is planned from: the flags of `plan` that describe runs.
type grid struct {
	*shared
	gpu string
}

func addGrid(c *cobra.Command) *grid {
	g := &grid{shared: addShared(c)}
	cli.Define(c.Flags(), "gpu", "name", "", "plan with the CUDA backend for this GPU, such as h100", cli.Word(&g.gpu))
	return g
}

// notStored are flags of addGrid that do not say what is planned, or whose content is stored instead.
var notStored = []string{"config", "format", "table", "columns", "help"}

// storedGrid reads flags that a baseline stores.
func storedGrid(flags []string) (*grid, error) {
	c := &cobra.Command{}
	g := addGrid(c)
	if err := c.ParseFlags(flags); err != nil {
		return nil, err
	}
	if rest := c.Flags().Args(); len(rest) > 0 {
		return nil, fmt.Errorf("%q is not a flag", rest[0])
	}
	return g, nil
}

// planner plans the records that a baseline should have: of its stored flags, or of the built-in grid.
func planner(env Env) func(path string, flags []string) ([]results.Record, error) {
	return func(path string, flags []string) ([]results.Record, error) {
		if flags == nil {
			gpu, _ := baseline.GPU(path)
			return suite.PlannedMemory(env.host(), gpu)
		}
		g, err := storedGrid(flags)
		if err != nil {
			return nil, &baseline.UnreadableError{Err: fmt.Errorf("%s: stored flags of plan: %w", path, err)}
		}
		return g.request.Plan(env.host(), g.gpu)
	}
}

func baselineUpdate(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "update NAME|FILE [--from PATH | --plan FLAGS]",
		Short: "write a baseline: from records, or planned memory",
		Long: "update writes a baseline of the records in --from; or, with --plan, of the planned memory\n" +
			"of the runs that the flags of `plan` describe. The flags are stored in the file, and\n" +
			"`baseline check` plans the same runs again. Unless --backend or --gpu is given, the plan\n" +
			"excludes the workspaces of kernels, and so is the same on every machine.\n" +
			"memory, and memory-GPU such as memory-h100, are planned without flags.",
		Example: "  benchctl baseline update memory\n" +
			"  benchctl baseline update ci/memory.json --plan --methods bp,auglocal --networks resnet110 --batch 512\n" +
			"  benchctl baseline update main --from results/runs",
		Args: oneBaseline,
	}
	var from string
	var plan, details bool
	c.Flags().SortFlags = false
	cli.Define(c.Flags(), "from", "path", "", "folder, record or collection to take the records from", cli.Word(&from))
	c.Flags().BoolVar(&plan, "plan", false, "plan the runs that the following flags describe")
	c.Flags().BoolVar(&details, "details", false, "keep the bytes by module and the largest tensors, which explain differences")
	g := addGrid(c)
	for _, name := range []string{"format", "table", "columns"} {
		_ = c.Flags().MarkHidden(name) // update prints one line
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if request, _, err := g.expand(c); err != nil || len(request.More) > 0 {
			if err == nil {
				err = usage(errors.New("--config: a baseline stores flags: it takes no " + strings.Join(sweepKeys(), ", ")))
			}
			return err
		}
		without := append([]string{"from", "plan", "details"}, notStored...)
		flags := cli.Given(c, nil, without)
		if c.Flags().Changed("format") {
			return usage(errors.New("--format: `baseline update` prints no table"))
		}
		if !plan && len(flags) > 0 {
			name, _, _ := strings.Cut(flags[0], "=")
			return usage(fmt.Errorf("%s: needs --plan: it describes runs to plan", name))
		}
		if plan && len(flags) == 0 {
			return usage(errors.New("--plan: give the flags of plan that describe the runs, such as --networks resnet110 --batch 512"))
		}
		if plan { // the lists are stored even where they are the defaults, which a later release may change
			flags = cli.Given(c, []string{"methods", "networks", "datasets"}, without)
		}
		path := baseline.File(args[0])
		count, err := gate.Gate{Plan: planner(env)}.Update(path, from, plan, details, flags)
		if err != nil {
			return usage(err)
		}
		fmt.Fprintf(env.Stdout, "%s: %s\n", path, english.Plural(count, "record", ""))
		return nil
	}
	return c
}

func baselineList(env Env) *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "the baselines in results/baselines", Args: noArguments}
	out := addOutput(c.Flags())
	c.RunE = func(*cobra.Command, []string) error {
		if err := out.open(); err != nil {
			return err
		}
		files, err := baseline.Files()
		if err != nil {
			return err
		}
		t, broken := catalog.Baselines(files, out.Name() == "json" || out.Name() == "csv")
		for _, err := range broken {
			warn(env.Stderr, err.Error())
		}
		verdict := errors.Join(broken...)
		if err := env.emit(out, answer{tables: []table.Table{t}}, verdict); err != nil {
			return err
		}
		return verdict
	}
	return c
}

func baselineShow(env Env) *cobra.Command {
	c := &cobra.Command{Use: "show NAME|FILE", Short: "the records of a baseline", Args: oneBaseline}
	out := addOutput(c.Flags())
	c.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.open(); err != nil {
			return err
		}
		records, _, err := baseline.Read(baseline.File(args[0]))
		if err != nil {
			return err
		}
		return env.emit(out, answer{tables: []table.Table{table.Summary(records)}}, nil)
	}
	return c
}

func baselineCheck(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "check [NAME|FILE ...]",
		Short: "plan the runs of baselines again and compare the planned memory, to the byte",
		Long: "check plans the runs of a baseline again, with the flags stored in the file, and compares\n" +
			"planned memory, parameters and FLOPs exactly. Without arguments it checks every baseline\n" +
			"of planned memory in results/baselines; one for a GPU is skipped, with a note, where the\n" +
			"CUDA backend is missing. Exit codes: 0 the same, 1 changed, 4 there is no baseline,\n" +
			"5 a baseline that cannot be read or compared here.",
		Example: "  benchctl baseline check\n  benchctl baseline check ci/memory.json",
	}
	var explain string
	cli.Define(c.Flags(), "explain", "program", "", "where memory grew, list the modules and tensors: "+
		"plan the old side again with the old benchctl program, or git revision", cli.Word(&explain))
	out := addOutput(c.Flags())
	c.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.open(); err != nil {
			return err
		}
		return checkBaselines(env, out, explain, args)
	}
	return c
}

// checkBaselines checks the named baselines, or all that are planned.
func checkBaselines(env Env, out *output, explain string, names []string) error {
	ctx, stop := interrupts(env, "nothing is explained")
	defer stop()
	g := gate.Gate{
		Plan: planner(env),
		Absent: func(err error) bool {
			var missing *engine.Unavailable
			return errors.As(err, &missing)
		},
		Warn: func(text string) { warn(env.Stderr, text) },
	}
	if explain != "" {
		g.Explain = func(path string, flags []string) ([]results.Record, error) {
			return gate.OldPlan(ctx, builds(env), explain, path, flags)
		}
	}
	all, err := g.Check(names)
	var tables []table.Table
	for _, c := range all {
		same := c.Changes != nil && c.Changes.Unchanged()
		switch {
		case c.Skipped:
			fmt.Fprintf(env.Stderr, "%s: not checked: %v\n", c.Path, c.Err)
		case c.Err == nil && same && out.Name() != "json":
			fmt.Fprintf(env.Stdout, "%s: planned memory of %s is the same to the byte\n", c.Path, english.Plural(c.Runs, "run", ""))
		case c.Changes != nil:
			tables = append(tables, c.Changes.Tables(false)...)
		}
		if c.Err != nil && !c.Skipped && len(all) > 1 {
			warn(env.Stderr, c.Err.Error())
		}
	}
	failed := usage(cmp.Or(err, gate.Worst(all)))
	if err == nil && (out.Name() == "json" || len(tables) > 0) {
		if err := env.emit(out, answer{tables: tables}, failed); err != nil {
			return err
		}
	}
	return failed
}
