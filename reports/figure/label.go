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
	varying := results.Varying(records)
	out := make([]labelled, len(groups))
	for i, g := range groups {
		out[i] = labelled{g, label(g.First(), varying)}
	}
	slices.SortStableFunc(out, func(a, b labelled) int {
		if c := table.CompareMethods(a.First().Spec.Method, b.First().Spec.Method); c != 0 {
			return c
		}
		return table.CompareNatural(a.label, b.label)
	})
	return out
}

// label names a record by what varies: "auglocal d=2, batch 512 (oom)".
func label(r results.Record, varying []string) string {
	parts := []string{r.Spec.Method}
	for _, f := range results.Fields(r) {
		if f.Name != "method" && f.Text != "" && slices.Contains(varying, f.Name) {
			parts = append(parts, setting(f))
		}
	}
	if r.Status != results.StatusDone {
		parts[len(parts)-1] += fmt.Sprintf(" (%s)", r.Status)
	}
	return strings.Join(parts, ", ")
}

// setting abbreviates common settings with the papers' letters.
func setting(f results.Field) string {
	switch f.Name {
	case "network", "dataset", "precision", "backend":
		return f.Text
	case "aux_depth":
		return "d=" + f.Text
	case "modules":
		return "K=" + f.Text
	case "pyramid":
		return "pyramid"
	}
	name := strings.TrimPrefix(strings.TrimPrefix(f.Name, "environment."), "options.")
	return shorten(strings.ReplaceAll(name, "_", " ") + " " + f.Text)
}

// shorten keeps a long text, such as the name of a processor, from pushing the
// plot off its figure.
func shorten(s string) string {
	const longest = 32
	if runes := []rune(s); len(runes) > longest {
		return string(runes[:longest-1]) + "…"
	}
	return s
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
