package planned

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// Describe are the sizes of networks under methods, and the local modules of each that has more than one.
func Describe(plans []results.Plan) []table.Table {
	all := table.Table{ID: "networks", Title: "Networks under methods", Columns: runColumns(
		table.NumberColumn("units", "units"),
		table.NumberColumn("local_modules", "local modules"),
		table.NumberColumn("parameters", "parameters"),
		table.NumberColumn("auxiliary_parameters", "auxiliary parameters"),
		table.NumberColumn("forward_flops_per_sample", "forward FLOPs"),
		table.NumberColumn("step_flops_per_sample", "step FLOPs"),
	),
		Notes: []string{"FLOPs are those of one sample; a multiply-add counts as two."}}
	tables := []table.Table{all}
	for _, p := range plans {
		m, units := p.Model, int64(0)
		if note := sameLayers(p.Spec.Network, m); note != "" && !slices.Contains(tables[0].Notes, note) {
			tables[0].Notes = append(tables[0].Notes, note)
		}
		for _, module := range m.Modules {
			units += module.Units
		}
		count := int64(len(m.Modules))
		addRun(&tables[0], p, table.CountCell(&units), table.CountCell(&count), table.CountCell(m.Parameters),
			table.CountCell(m.AuxiliaryParameters), table.FLOPsCell(m.FLOPsPerSample.Forward), table.FLOPsCell(m.FLOPsPerSample.Step))
		if count > 1 {
			tables = append(tables, modules(p.Spec, m))
		}
	}
	return tables
}

// sameLayers says which built-in network has the layers of an exported one; empty if none has.
func sameLayers(network string, m results.Model) string {
	if m.BuiltIn == "" {
		return ""
	}
	return fmt.Sprintf("%s has the layers of the built-in network %s, and takes its units, published cuts and auxiliary networks.",
		network, m.BuiltIn)
}

// modules are the local modules of one run.
func modules(s results.Spec, m results.Model) table.Table {
	t := table.Table{
		ID:    "modules",
		Run:   results.SpecID(s),
		Title: fmt.Sprintf("Local modules of %s under %s, %s", s.Network, s.Method, Settings(s)),
		Columns: []table.Column{table.NumberColumn("module", "module"), table.NumberColumn("units", "units"),
			table.NumberColumn("aux_depth", "auxiliary units"), table.NumberColumn("parameters", "parameters")},
		Notes: []string{"Parameters count the module's auxiliary network. The last module ends in the head of the network."},
	}
	for i, module := range m.Modules {
		number := int64(i)
		t.AddRow(table.CountCell(&number), table.CountCell(&module.Units), table.CountCell(&module.AuxDepth),
			table.CountCell(&module.Parameters))
	}
	return t
}

// Units lists the units of a network, and its head.
func Units(network string, units []results.Unit) table.Table {
	t := table.Table{
		ID:    "units",
		Title: "Units of " + network,
		Columns: []table.Column{table.NumberColumn("unit", "unit"), table.TextColumn("place", "place"),
			table.TextColumn("name", "name"), table.TextColumn("result", "result"), table.NumberColumn("parameters", "parameters")},
		Notes: []string{"--cuts takes places, names, the path of a unit's last module, or a path that contains units: " +
			"a module ends after the last of them. The result is height x width x channels for one sample."},
	}
	known := slices.ContainsFunc(units, func(u results.Unit) bool { return u.BuiltIn != "" })
	if known {
		t.Columns = append(t.Columns, table.TextColumn("built_in_place", "built-in place"))
		t.Notes = append(t.Notes, "--cuts takes the places of the built-in network with the same layers, too.")
	}
	for i, u := range units {
		number := table.Cell{}
		if u.Place != "" {
			number = table.CountCell(new(int64(i)))
		}
		sides := make([]string, len(u.Shape))
		for k, n := range u.Shape {
			sides[k] = strconv.FormatInt(n, 10)
		}
		t.AddRow(number, table.Text(u.Place), table.Text(u.Name), table.Text(strings.Join(sides, "x")), table.CountCell(&u.Parameters))
		if row := &t.Rows[len(t.Rows)-1]; known {
			*row = append(*row, table.Text(u.BuiltIn))
		}
	}
	return t
}
