package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/gpu"
	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/suite"
)

func devicesCommand(env Env) *cobra.Command {
	c := &cobra.Command{Use: "devices", Short: "the processor, its memory, the GPUs, and the libraries that runs would use", Args: noArguments}
	out := addOutput(c.Flags())
	c.RunE = func(*cobra.Command, []string) error {
		if err := out.open(); err != nil {
			return err
		}
		t, err := deviceTable(env.host(), gpu.Find(gpu.Open))
		if err != nil {
			return err
		}
		return env.emit(out, answer{tables: []table.Table{t}}, nil)
	}
	return c
}

// deviceTable lists the processor, the GPUs of the inventory and the cuda backend.
func deviceTable(h suite.Host, found gpu.Inventory) (table.Table, error) {
	t := table.Table{ID: "devices", Title: "Devices", Columns: []table.Column{table.TextColumn("device", "device"),
		table.TextColumn("fact", "fact"), table.TextColumn("value", "value")}}
	if found.Why != "" {
		t.Notes = append(t.Notes, "GPUs: "+printable.Line(found.Why)+".")
	}
	if len(found.Cards) > 0 {
		t.Notes = append(t.Notes, "GPUs have the driver's numbers, those of nvidia-smi.")
	}
	facts, err := suite.Devices(h, found)
	if err != nil {
		return table.Table{}, fmt.Errorf("backend: %w", err)
	}
	for _, f := range facts {
		value := table.Text(printable.Line(f.Text))
		switch {
		case f.Bytes != nil:
			value = table.BytesCell(f.Bytes)
		case f.Count != nil:
			value = table.CountCell(f.Count)
		}
		t.Rows = append(t.Rows, []table.Cell{table.Text(f.Device), table.Text(f.Name), value})
	}
	return t, nil
}
