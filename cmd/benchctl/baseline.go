package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// memoryBaseline is the name of the baseline that needs no run: planned memory. With a dash and a
// GPU's name behind it, such as memory-h100, it is planned for that GPU.
const memoryBaseline = "memory"

// plannedFor is the GPU that a baseline's name says it is planned for, empty for none; false: it is no
// baseline of planned memory.
func plannedFor(name string) (gpu string, ok bool) {
	if name == memoryBaseline {
		return "", true
	}
	gpu, ok = strings.CutPrefix(name, memoryBaseline+"-")
	return gpu, ok && gpu != ""
}

func baselineCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "baseline",
		Short: "records to compare with, kept in git: update, list, show or check them",
		Long: "Baselines are collections of records in results/baselines, reviewed like code. The one\n" +
			"named memory is planned memory of every network under every method; it needs no run,\n" +
			"is the same on every machine, and is checked to the byte. memory-h100 is the same for\n" +
			"that GPU, with the workspaces of its convolutions; it needs the cuda backend and no GPU.",
		Args: noArguments,
	}
	c.RunE = func(*cobra.Command, []string) error {
		return &usageError{errors.New("baseline: got no command, want update, list, show or check"), "benchctl baseline --help says what they do"}
	}
	var from string
	update := &cobra.Command{Use: "update NAME", Short: "write a baseline: memory from plans, any other from records"}
	define(update.Flags(), "from", "path", "", "folder, record or collection to take the records from", word(&from))
	update.RunE = func(_ *cobra.Command, args []string) error { return updateBaseline(env, args, from) }
	name := "table"
	list := &cobra.Command{Use: "list", Short: "the baselines that there are", Args: noArguments}
	list.RunE = func(*cobra.Command, []string) error { return listBaselines(env, name) }
	show := &cobra.Command{Use: "show NAME", Short: "the records of a baseline"}
	show.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage(errors.New("baseline show: want one name"))
		}
		format, err := table.Lookup(name)
		if err != nil {
			return usage(err)
		}
		records, err := readRecords(env, baselinePath(args[0]))
		if err != nil {
			return &noBaselineError{err}
		}
		return env.emit(format, answer{tables: []table.Table{table.Summary(records)}}, nil)
	}
	for _, c := range []*cobra.Command{list, show} {
		define(c.Flags(), "format", "name", name, "of the results: table, markdown, csv, latex or json", word(&name))
	}
	check := &cobra.Command{Use: "check", Short: "plan the memory baselines again and hold them against their files, to the byte", Args: noArguments}
	check.RunE = func(*cobra.Command, []string) error { return checkMemory(env) }
	c.AddCommand(update, list, show, check)
	return c
}

func updateBaseline(env Env, args []string, from string) error {
	if len(args) != 1 || strings.ContainsAny(args[0], `/\`) {
		return usage(errors.New("baseline update: want one name, without a path"))
	}
	path := baselinePath(filepath.Join(baselineDir, args[0]+".json"))
	var records []results.Record
	var err error
	gpu, planned := plannedFor(args[0])
	switch {
	case planned && from == "":
		records, err = suite.PlannedMemory(gpu)
	case from == "":
		err = fmt.Errorf("baseline update %s: want --from with a folder of records; only %s, or memory-<gpu>, is made from plans", args[0], memoryBaseline)
	default:
		records, err = readRecords(env, from)
	}
	if err != nil {
		return usage(err)
	}
	if err := results.WriteCollection(path, records); err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "%s: %s\n", path, english.Plural(len(records), "record", ""))
	return nil
}

func listBaselines(env Env, formatName string) error {
	format, err := table.Lookup(formatName)
	if err != nil {
		return usage(err)
	}
	files, err := filepath.Glob(filepath.Join(baselineDir, "*.json"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return &noBaselineError{fmt.Errorf("%s has none", baselineDir)}
	}
	t := table.Table{ID: "baselines", Columns: []table.Column{textColumn("name", "baseline"), numberColumn("records", "records"), textColumn("networks", "networks"), textColumn("methods", "methods")}}
	for _, path := range files {
		records, _, err := results.ReadAny(path)
		if err != nil {
			warn(env.Stderr, err.Error())
			continue
		}
		distinct := func(of func(results.Spec) string) table.Cell {
			var all []string
			for _, r := range records {
				all = append(all, of(r.Spec))
			}
			slices.Sort(all)
			return table.Text(strings.Join(slices.Compact(all), ", "))
		}
		t.Rows = append(t.Rows, []table.Cell{table.Text(strings.TrimSuffix(filepath.Base(path), ".json")), table.Number(float64(len(records)), table.Count(int64(len(records)))),
			distinct(func(s results.Spec) string { return s.Network }), distinct(func(s results.Spec) string { return s.Method })})
	}
	return env.emit(format, answer{tables: []table.Table{t}}, nil)
}

// checkMemory is the gate of our own continuous integration: each baseline of planned memory that
// there is, and the one that is the same on every machine in any case.
func checkMemory(env Env) error {
	files, err := filepath.Glob(filepath.Join(baselineDir, memoryBaseline+"-*.json"))
	if err != nil {
		return err
	}
	if err := checkPlanned(env, memoryBaseline); err != nil {
		return err
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		err := checkPlanned(env, name)
		var missing *engine.Unavailable
		if errors.As(err, &missing) {
			fmt.Fprintf(env.Stdout, "%s: not checked: %v\n", name, missing)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// checkPlanned plans a baseline again.
func checkPlanned(env Env, name string) error {
	old, err := readRecords(env, baselinePath(name))
	if err != nil {
		return &noBaselineError{err}
	}
	gpu, _ := plannedFor(name)
	new, err := suite.PlannedMemory(gpu)
	if err != nil {
		return err
	}
	if len(old) > 0 && len(new) > 0 {
		if a, b := old[0].Environment.Libraries["cuDNN"], new[0].Environment.Libraries["cuDNN"]; a != b {
			fmt.Fprintf(env.Stdout, "%s: not checked: it was planned with cuDNN %s, and here is %s\n", name, a, b)
			return nil
		}
	}
	c := compare.Run(old, new, compare.Defaults())
	changed := append(c.Worst(compare.Regression), c.Worst(compare.Better)...)
	format, err := table.Lookup("table")
	if err != nil {
		return err
	}
	if len(changed)+len(c.OnlyOld)+len(c.OnlyNew) == 0 {
		title := "planned memory"
		if gpu != "" {
			title += " for " + gpu
		}
		fmt.Fprintf(env.Stdout, "%s: %d cells are the same to the byte\n", title, len(c.Cells))
		return nil
	}
	what := c.Sentence()
	if len(c.Worst(compare.Regression)) == 0 {
		what = fmt.Sprintf("%d cells became smaller, %d networks or methods came and %d went", len(c.Worst(compare.Better)), len(c.OnlyNew), len(c.OnlyOld))
	}
	verdict := &verdictError{fmt.Sprintf("baseline: planned memory has changed: %s; benchctl baseline update %s takes it over", what, name)}
	if err := env.emit(format, answer{tables: c.Tables(false)}, verdict); err != nil && !os.IsNotExist(err) {
		return err
	}
	return verdict
}
