package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// memoryBaseline is the name of the baseline that needs no run: planned memory.
const memoryBaseline = "memory"

func baselineCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "baseline",
		Short: "records to compare with, kept in git: update, list, show or check them",
		Long: "Baselines are collections of records in results/baselines, reviewed like code. The one\n" +
			"named memory is planned memory of every network under every method; it needs no run,\n" +
			"is the same on every machine, and is checked to the byte.",
		Args: noArguments,
	}
	c.RunE = func(*cobra.Command, []string) error {
		return &usageError{errors.New("baseline: got no command, want update, list, show or check"), "benchctl baseline --help says what they do"}
	}
	var from string
	update := &cobra.Command{Use: "update NAME", Short: "write a baseline: memory from plans, any other from records"}
	define(update.Flags(), "from", "path", "", "folder, record or collection to take the records from", word(&from))
	update.RunE = func(_ *cobra.Command, args []string) error { return updateBaseline(env, args, from) }
	list := &cobra.Command{Use: "list", Short: "the baselines that there are", Args: noArguments}
	list.RunE = func(*cobra.Command, []string) error { return listBaselines(env) }
	show := &cobra.Command{Use: "show NAME", Short: "the records of a baseline"}
	show.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage(errors.New("baseline show: want one name"))
		}
		records, err := readRecords(env, baselinePath(args[0]))
		if err != nil {
			return &noBaselineError{err}
		}
		format, _ := table.Lookup("table")
		return env.emit(format, answer{tables: []table.Table{table.Summary(records)}}, nil)
	}
	check := &cobra.Command{Use: "check", Short: "plan the memory baseline again and hold it against the file, to the byte", Args: noArguments}
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
	switch {
	case args[0] == memoryBaseline && from == "":
		records, err = suite.PlannedMemory()
	case from == "":
		err = fmt.Errorf("baseline update %s: want --from with a folder of records; only %s is made from plans", args[0], memoryBaseline)
	default:
		records, err = readRecords(env, from)
	}
	if err != nil {
		return usage(err)
	}
	if err := results.WriteCollection(path, records); err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "%s: %d records\n", path, len(records))
	return nil
}

func listBaselines(env Env) error {
	files, err := filepath.Glob(filepath.Join(baselineDir, "*.json"))
	if err != nil {
		return err
	}
	for _, path := range files {
		records, _, err := results.ReadAny(path)
		if err != nil {
			fmt.Fprintln(env.Stderr, "benchctl: "+err.Error())
			continue
		}
		fmt.Fprintf(env.Stdout, "%s: %d records\n", strings.TrimSuffix(filepath.Base(path), ".json"), len(records))
	}
	if len(files) == 0 {
		return &noBaselineError{fmt.Errorf("%s has none", baselineDir)}
	}
	return nil
}

// checkMemory is the gate of our own continuous integration.
func checkMemory(env Env) error {
	old, err := readRecords(env, baselinePath(memoryBaseline))
	if err != nil {
		return &noBaselineError{err}
	}
	new, err := suite.PlannedMemory()
	if err != nil {
		return err
	}
	c := compare.Run(old, new, compare.Defaults())
	changed := append(c.Worst(compare.Regression), c.Worst(compare.Better)...)
	format, err := table.Lookup("table")
	if err != nil {
		return err
	}
	if len(changed)+len(c.OnlyOld)+len(c.OnlyNew) == 0 {
		fmt.Fprintf(env.Stdout, "planned memory: %d cells are the same to the byte\n", len(c.Cells))
		return nil
	}
	verdict := &verdictError{"baseline: planned memory has changed: " + c.Sentence() + "; benchctl baseline update memory takes it over"}
	if err := env.emit(format, answer{tables: c.Tables(false)}, verdict); err != nil && !os.IsNotExist(err) {
		return err
	}
	return verdict
}
