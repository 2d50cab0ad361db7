package main

import (
	"fmt"
	"maps"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/suite"
)

func devicesCommand(env Env) *cobra.Command {
	c := &cobra.Command{Use: "devices", Short: "the processor, its memory and the libraries that runs would use", Args: noArguments}
	name := "table"
	define(c.Flags(), "format", "name", name, "of the results: table, markdown, csv, latex or json", word(&name))
	c.RunE = func(*cobra.Command, []string) error {
		format, err := table.Lookup(name)
		if err != nil {
			return usage(err)
		}
		t, err := deviceTable()
		if err != nil {
			return err
		}
		return env.emit(format, answer{tables: []table.Table{t}}, nil)
	}
	return c
}

func deviceTable() (table.Table, error) {
	d, err := engine.Open("cpu", engine.Options{})
	if err != nil {
		return table.Table{}, fmt.Errorf("backend: %w", err)
	}
	defer d.Close()
	t := table.Table{Title: "Devices", Columns: []table.Column{textColumn("device", "device"), textColumn("fact", "fact"), textColumn("value", "value")},
		Notes: []string{"The cuda backend is not in this build: GPUs are not looked for."}}
	add := func(device, fact string, value table.Cell) {
		t.Rows = append(t.Rows, []table.Cell{table.Text(device), table.Text(fact), value})
	}
	if model := suite.Processor(); model != "" {
		add("cpu", "model", table.Text(model))
	}
	cores := int64(runtime.NumCPU())
	add("cpu", "cores", wholeCell(&cores))
	if bytes, ok := suite.MachineBytes(); ok {
		add("cpu", "memory", bytesCell(&bytes))
	}
	facts := d.Facts()
	for _, fact := range slices.Sorted(maps.Keys(facts)) {
		add("cpu", fact, table.Text(facts[fact]))
	}
	add("cuda", "backend", table.Text("not in this build"))
	return t, nil
}
