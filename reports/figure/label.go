package figure

import (
	"fmt"
	"slices"
	"strings"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// labelled is a group with a label that is unique in its figure.
type labelled struct {
	results.Group
	label string
}

// labels groups the records in the order of the methods and names each group by
// its method, the settings that vary, and its status if it did not finish.
func labels(records []results.Record) []labelled {
	groups, _ := results.Groups(records)
	names := table.LabelsOf(records)
	out := make([]labelled, len(groups))
	for i, g := range groups {
		out[i] = labelled{g, names.Of(g.First())}
	}
	slices.SortStableFunc(out, func(a, b labelled) int {
		if c := table.CompareMethods(a.First().Spec.Method, b.First().Spec.Method); c != 0 {
			return c
		}
		return table.CompareNatural(a.label, b.label)
	})
	return out
}

// title names the network, data set and batch that all records have in common.
func title(what string, records []results.Record) string {
	s, varying := records[0].Spec, results.Varying(records)
	common := func(name, text string) string {
		if slices.Contains(varying, name) {
			return ""
		}
		return text
	}
	var parts []string
	for _, part := range []string{common("network", s.Network), common("dataset", s.Dataset),
		common("batch", fmt.Sprintf("batch %d", s.Batch)), common("precision", s.Precision)} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return what
	}
	return what + ": " + strings.Join(parts, ", ")
}
