package main

import (
	"github.com/spf13/cobra"

	"github.com/localbench/localbench/plans"
)

func describeCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "describe [NETWORK]",
		Short: "units, modules, auxiliary depths, parameters and FLOPs of networks under methods",
		Long: "describe lists the networks under methods with their sizes, the local modules of each, and the\n" +
			"units of the network with the places that --cuts takes. NETWORK is short for --networks.",
		Example: "  benchctl describe --networks resnet32 --methods auglocal --aux-depths 2,4\n" +
			"  benchctl describe net.pt2 --methods bp --table units",
		Args: oneNetwork,
	}
	s := addShared(c, "networks", "modules", "units")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := setNetwork(c, args); err != nil {
			return err
		}
		request, format, err := s.expand(c)
		if err != nil {
			return err
		}
		runs, err := request.Build()
		if err != nil {
			return usage(err)
		}
		tables, err := plans.Describe(env.host(), runs)
		if err != nil {
			return usage(err)
		}
		return env.emit(format, answer{tables: tables}, nil)
	}
	return c
}
