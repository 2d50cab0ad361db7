package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

func auditCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "prove that local modules are isolated, or name the tensor that breaks it",
		Long: "audit reads the step program and its plan: no gradient may cross the border of a\n" +
			"local module, and nothing of a module but its result may be alive when the next\n" +
			"one has its peak. A breach ends with exit code 1.",
		Example: "  benchctl audit --methods dgl,infopro,auglocal --networks resnet110",
		Args:    noArguments,
	}
	s := addShared(c, "isolation", "violations")
	c.RunE = func(c *cobra.Command, _ []string) error {
		request, format, err := s.expand(c)
		if err != nil {
			return err
		}
		specs, err := request.Expand()
		if err != nil {
			return usage(err)
		}
		broken := 0
		tables, err := onDevice(specs, "", func(d engine.Device, _ string) ([]table.Table, error) {
			var tables []table.Table
			tables, broken, err = auditTables(d, specs)
			return tables, err
		})
		if err != nil {
			return usage(err)
		}
		var verdict error
		if broken > 0 {
			verdict = &verdictError{fmt.Sprintf("audit: %d of %d steps are not isolated", broken, len(specs))}
		}
		if err := env.emit(format, answer{tables: tables}, verdict); err != nil {
			return err
		}
		return verdict
	}
	return c
}

func auditTables(d engine.Device, specs []results.Spec) (tables []table.Table, broken int, err error) {
	all := table.Table{ID: "isolation", Title: "Isolation of local modules", Columns: append(specColumns(),
		numberColumn("local_modules", "local modules"), numberColumn("findings", "findings"), textColumn("verdict", "verdict"))}
	details := table.Table{ID: "violations", Title: "What breaks it", Columns: []table.Column{textColumn("run", "run"), numberColumn("module", "module"),
		textColumn("tensor", "tensor"), textColumn("finding", "finding")}}
	for _, s := range specs {
		c, err := suite.CompileOn(d, s)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", results.SpecID(s), err)
		}
		found := c.Audit()
		verdict := "isolated"
		if len(c.Stages) == 1 {
			verdict = "one module: nothing to isolate"
		}
		if len(found) > 0 {
			verdict = "broken"
			broken++
		}
		modules, count := int64(len(c.Stages)), int64(len(found))
		all.Rows = append(all.Rows, append(specCells(s), wholeCell(&modules), wholeCell(&count), table.Text(verdict)))
		for _, f := range found {
			module := int64(f.Module)
			details.Rows = append(details.Rows, []table.Cell{table.Text(results.SpecID(s)), wholeCell(&module), table.Text(f.Tensor), table.Text(f.What)})
		}
	}
	tables = []table.Table{all}
	if len(details.Rows) > 0 {
		tables = append(tables, details)
	}
	return tables, broken, nil
}

// verdictError is a verdict that failed.
type verdictError struct{ text string }

func (e *verdictError) Error() string { return e.text }
