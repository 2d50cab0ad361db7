package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/plans"
	"github.com/localbench/localbench/reports/gate"
)

func auditCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "prove that local modules are isolated, or name the tensor that breaks it",
		Long: "audit checks the step program and its plan: no gradient may cross the border of a\n" +
			"local module, and only the output of a module may be live at the peak of the\n" +
			"next one. A violation ends with exit code 1.",
		Example: "  benchctl audit --methods dgl,infopro,auglocal --networks resnet110",
		Args:    noArguments,
	}
	s := addShared(c, "isolation", "violations")
	c.RunE = func(c *cobra.Command, _ []string) error {
		request, format, err := s.expand(c)
		if err != nil {
			return err
		}
		runs, err := request.Build()
		if err != nil {
			return usage(err)
		}
		tables, broken, err := plans.Audit(env.host(), runs)
		if err != nil {
			return usage(err)
		}
		var verdict error
		if broken > 0 {
			verdict = &gate.FailedError{Text: fmt.Sprintf("audit: %d of %d steps are not isolated", broken, len(runs))}
		}
		if err := env.emit(format, answer{tables: tables}, verdict); err != nil {
			return err
		}
		return verdict
	}
	return c
}
