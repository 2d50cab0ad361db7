package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/git"
	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/reports/compare"
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

// flags are the flags that were set, on the command line or by --config, in the form that storedGrid takes, and those
// in always. own are flags of the command that do not describe runs.
func (g *grid) flags(c *cobra.Command, own, always []string) (all []string) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if set := f.Changed || f.Value.String() != f.DefValue; (set || slices.Contains(always, f.Name)) &&
			!slices.Contains(notStored, f.Name) && !slices.Contains(own, f.Name) {
			all = append(all, "--"+f.Name+"="+f.Value.String())
		}
	})
	return all
}

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

// planBaseline returns the records that a baseline should have: of its stored flags, or of the built-in grid.
func planBaseline(h suite.Host, path string, flags []string) ([]results.Record, error) {
	if flags != nil {
		g, err := storedGrid(flags)
		if err != nil {
			return nil, &baseline.UnreadableError{Err: fmt.Errorf("%s: stored flags of plan: %w", path, err)}
		}
		return g.request.Plan(h, g.gpu)
	}
	gpu, _ := baseline.GPU(path)
	return suite.PlannedMemory(h, gpu)
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
		if _, _, err := g.expand(c); err != nil {
			return err
		}
		own := []string{"from", "plan", "details"}
		flags := g.flags(c, own, nil)
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
			flags = g.flags(c, own, []string{"methods", "networks", "datasets"})
		}
		return updateBaseline(env, baseline.File(args[0]), from, plan, details, flags)
	}
	return c
}

func updateBaseline(env Env, path, from string, plan, details bool, flags []string) error {
	_, builtIn := baseline.GPU(path)
	var records []results.Record
	var err error
	switch {
	case from != "":
		if records, err = readRecords(from); err != nil {
			var unreadable *baseline.UnreadableError
			if errors.As(err, &unreadable) {
				return err
			}
			return usage(err)
		}
	case !plan && !builtIn:
		return usage(fmt.Errorf("baseline update %s: --from or --plan is missing; only %s and %s-GPU have a built-in grid", path,
			baseline.Planned, baseline.Planned))
	default:
		if records, err = planBaseline(env.host(), path, flags); err != nil {
			return usage(err)
		}
	}
	for i := range records {
		if !details {
			results.Brief(&records[i])
		}
	}
	if err := results.WriteCollection(path, flags, records); err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "%s: %s\n", path, english.Plural(len(records), "record", ""))
	return nil
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
		t := table.Table{ID: "baselines", Columns: []table.Column{table.TextColumn("name", "baseline"), table.NumberColumn("records", "records"),
			table.TextColumn("kind", "kind"), table.TextColumn("networks", "networks"), table.TextColumn("methods", "methods")}}
		whole := out.Name() == "json" || out.Name() == "csv"
		var broken error
		for _, path := range files {
			records, flags, err := baseline.Read(path)
			if err != nil {
				warn(env.Stderr, err.Error())
				broken = err
				continue
			}
			kind := "measured"
			if _, builtIn := baseline.GPU(path); builtIn || flags != nil {
				kind = "planned"
			}
			name, _ := baseline.Name(path)
			t.Rows = append(t.Rows, []table.Cell{table.Text(name), table.Number(float64(len(records)), table.Count(int64(len(records)))),
				table.Text(kind),
				distinct(records, whole, func(s results.Spec) string { return s.Network }),
				distinct(records, whole, func(s results.Spec) string { return s.Method })})
		}
		if err := env.emit(out, answer{tables: []table.Table{t}}, broken); err != nil {
			return err
		}
		return broken
	}
	return c
}

// namedInList is how many names a cell of `baseline list` has for people.
const namedInList = 2

// distinct is a cell of the distinct values of the records, for people only the first ones.
func distinct(records []results.Record, whole bool, of func(results.Spec) string) table.Cell {
	var all []string
	for _, r := range records {
		all = append(all, of(r.Spec))
	}
	slices.SortFunc(all, table.CompareNatural)
	all = slices.Compact(all)
	if rest := len(all) - namedInList; rest > 0 && !whole {
		return table.Text(fmt.Sprintf("%s and %d more", strings.Join(all[:namedInList], ", "), rest))
	}
	return table.Text(strings.Join(all, ", "))
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
	var paths []string
	for _, name := range names {
		paths = append(paths, baseline.File(name))
	}
	if len(names) == 0 {
		var err error
		if paths, err = baseline.Files(); err != nil {
			return err
		}
	}
	var tables []table.Table
	var failed error
	checked := 0
	for _, path := range paths {
		old, flags, err := baseline.Read(path)
		if _, builtIn := baseline.GPU(path); err == nil && !builtIn && flags == nil {
			if len(names) == 0 {
				continue // measured records
			}
			err = &baseline.UnreadableError{Err: fmt.Errorf("baseline check: %s has measured records, not planned memory: "+
				"`benchctl compare --baseline %s NEW` compares with it", path, path)}
		}
		var one []table.Table
		if err == nil {
			one, err = checkPlanned(env, out, explain, path, old, flags)
		}
		var missing *engine.Unavailable
		if gpu, builtIn := baseline.GPU(path); len(names) == 0 && builtIn && gpu != "" &&
			(errors.As(err, &missing) || errors.As(err, new(*otherLibraryError))) {
			fmt.Fprintf(env.Stderr, "%s: not checked: %v\n", path, err)
			continue
		}
		checked++
		tables = append(tables, one...)
		if err != nil && len(paths) > 1 {
			warn(env.Stderr, err.Error())
		}
		failed = worse(failed, err)
	}
	if checked == 0 && failed == nil {
		return &baseline.MissingError{Path: filepath.Join(baseline.Dir, baseline.Planned+".json")}
	}
	if out.Name() == "json" || len(tables) > 0 {
		if err := env.emit(out, answer{tables: tables}, failed); err != nil {
			return err
		}
	}
	return failed
}

// worse keeps the error that a gate should end with: a baseline that could not be checked before one that changed.
func worse(a, b error) error {
	var verdict *verdictError
	if a == nil || b != nil && errors.As(a, &verdict) {
		return b
	}
	return a
}

// otherLibraryError says that a plan depends on a library, or a processor, that differs here.
type otherLibraryError struct{ path, what string }

// Error names the file and what differs.
func (e *otherLibraryError) Error() string {
	return fmt.Sprintf("baseline check: %s: cannot be compared here: %s", e.path, e.what)
}

// checkPlanned plans a baseline again. It returns the table of what changed, and the verdict.
func checkPlanned(env Env, out *output, explain, path string, old []results.Record, flags []string) ([]table.Table, error) {
	now, err := planBaseline(env.host(), path, flags)
	if err != nil {
		return nil, usage(err)
	}
	if differ := compare.OtherPlanner(old[0].Environment, now[0].Environment); len(differ) > 0 {
		return nil, &otherLibraryError{path, "planned with " + strings.Join(differ, ", ")}
	}
	c := compare.Run(old, now, compare.Defaults())
	if c.Unchanged() {
		if out.Name() == "json" {
			return c.Tables(false), nil
		}
		fmt.Fprintf(env.Stdout, "%s: planned memory of %s is the same to the byte\n", path, english.Plural(len(now), "run", ""))
		return nil, nil
	}
	shown := c
	if explain != "" {
		if shown, err = explained(env, explain, path, flags, old, now); err != nil {
			return nil, usage(fmt.Errorf("--explain: %w", err))
		}
		if shown.Unchanged() { // it is the file that differs from both programs
			shown = c
		}
	}
	return shown.Tables(false), &verdictError{fmt.Sprintf(
		"baseline: planned memory has changed: %s; if that is intended, `%s` accepts it",
		c.PlannedSentence(), baseline.UpdateLine(path, flags))}
}

// explained is the comparison with the old side planned again by the old program, which tells modules and tensors. A
// program from before baselines left them out keeps them without being asked.
func explained(env Env, program, path string, flags []string, old, now []results.Record) (compare.Comparison, error) {
	var c compare.Comparison
	folder, err := os.MkdirTemp("", "benchctl-explain-")
	if err != nil {
		return c, err
	}
	defer os.RemoveAll(folder)
	ctx, stop := interrupts(env, "nothing is explained")
	defer stop()
	if program, err = builds(env).FindProgram(ctx, program, folder); err != nil {
		return c, err
	}
	file, args := "old.json", append([]string{"baseline", "update", "old.json", "--plan"}, flags...)
	if flags == nil {
		name, _ := baseline.Name(path)
		file, args = path, []string{"baseline", "update", name}
	}
	var text []byte
	for _, more := range [][]string{{"--details"}, nil} {
		command := exec.CommandContext(ctx, program, append(slices.Clone(args), more...)...)
		command.Dir = folder
		if text, err = command.CombinedOutput(); err == nil {
			break
		}
	}
	if err != nil {
		return c, fmt.Errorf("%s can't plan %s: %s", program, path, printable.Line(git.LastLines(string(text), 2)))
	}
	planned, _, err := baseline.Read(filepath.Join(folder, file))
	if err != nil {
		return c, err
	}
	if !compare.Run(old, planned, compare.Defaults()).Unchanged() {
		warn(env.Stderr, fmt.Sprintf("%s plans other figures than %s holds; the explanation is of its figures", program, path))
	}
	return compare.Run(planned, now, compare.Defaults()), nil
}
