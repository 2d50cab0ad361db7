package main

import (
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

func describeCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "describe",
		Short:   "units, modules, auxiliary depths, parameters and FLOPs of networks under methods",
		Example: "  benchctl describe --networks resnet32 --methods auglocal --aux-depths 2,4",
		Args:    noArguments,
	}
	s := addShared(c, "networks", "modules")
	c.RunE = func(c *cobra.Command, _ []string) error {
		request, format, err := s.expand(c)
		if err != nil {
			return err
		}
		specs, err := request.Expand()
		if err != nil {
			return usage(err)
		}
		tables, err := onDevice(specs, "", func(d engine.Device, _ string) ([]table.Table, error) { return describeTables(d, specs) })
		if err != nil {
			return usage(err)
		}
		return env.emit(format, answer{tables: tables}, nil)
	}
	return c
}

func describeTables(d engine.Device, specs []results.Spec) ([]table.Table, error) {
	all := table.Table{ID: "networks", Title: "Networks under methods", Columns: append(specColumns(),
		numberColumn("units", "units"), numberColumn("local_modules", "local modules"),
		numberColumn("parameters", "parameters"), numberColumn("auxiliary_parameters", "auxiliary parameters"),
		numberColumn("forward_flops_per_sample", "forward FLOPs"), numberColumn("step_flops_per_sample", "step FLOPs")),
		Notes: []string{"FLOPs are those of one sample; a multiply-add counts as two."}}
	tables := []table.Table{all}
	for _, s := range specs {
		c, err := suite.CompileOn(d, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", results.SpecID(s), err)
		}
		m, units := c.Model, int64(0)
		for _, module := range m.Modules {
			units += module.Units
		}
		count := int64(len(m.Modules))
		tables[0].Rows = append(tables[0].Rows, append(specCells(s), wholeCell(&units), wholeCell(&count),
			wholeCell(m.Parameters), wholeCell(m.AuxiliaryParameters), flopsCell(m.FLOPsPerSample.Forward), flopsCell(m.FLOPsPerSample.Step)))
		if count > 1 {
			tables = append(tables, modulesTable(s, m))
		}
	}
	return tables, nil
}

func modulesTable(s results.Spec, m results.Model) table.Table {
	t := table.Table{ID: "modules", Run: results.SpecID(s), Title: fmt.Sprintf("Local modules of %s under %s, %s", s.Network, s.Method, settings(s)),
		Columns: []table.Column{numberColumn("module", "module"), numberColumn("units", "units"),
			numberColumn("aux_depth", "auxiliary units"), numberColumn("parameters", "parameters")},
		Notes: []string{"Parameters count the module's auxiliary network. The last module ends in the head of the network."}}
	for i, module := range m.Modules {
		number := int64(i)
		t.Rows = append(t.Rows, []table.Cell{wholeCell(&number), wholeCell(&module.Units), wholeCell(&module.AuxDepth), wholeCell(&module.Parameters)})
	}
	return t
}

// wholeCell is a count with its thousands set apart.
func wholeCell(n *int64) table.Cell {
	if n == nil {
		return table.Cell{}
	}
	return table.Number(float64(*n), humanize.Comma(*n))
}

// flopsCell is a count of operations with a prefix of a thousand: 138.6 M.
func flopsCell(n *int64) table.Cell {
	if n == nil {
		return table.Cell{}
	}
	x, prefix := humanize.ComputeSI(float64(*n))
	return table.Number(float64(*n), fmt.Sprintf("%.4g %s", x, prefix))
}
