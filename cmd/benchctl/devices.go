package main

import (
	"github.com/spf13/cobra"

	"github.com/localbench/localbench/gpu"
	"github.com/localbench/localbench/reports/catalog"
	"github.com/localbench/localbench/reports/table"
)

func devicesCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "devices",
		Short: "the processor, its memory, the GPUs, and the libraries that runs would use",
		Args:  noArguments,
	}
	out := addOutput(c.Flags())
	c.RunE = func(*cobra.Command, []string) error {
		if err := out.open(); err != nil {
			return err
		}
		t, err := catalog.Devices(env.host(), gpu.Find(gpu.Open))
		if err != nil {
			return err
		}
		return env.emit(out, answer{tables: []table.Table{t}}, nil)
	}
	return c
}
