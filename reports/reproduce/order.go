package reproduce

import (
	"fmt"
	"math"
	"strings"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results/published"
)

// Order compares the order of methods instead of their accuracies: with a shorter schedule all accuracies are lower, but a method
// that a paper shows ahead of another one should be ahead here too. Pairs are of one network, data set, recipe and paper, and
// their published accuracies differ by more than half a point. failed is the number of pairs that are reversed here by more
// than half a point, and beyond two standard deviations where there are several seeds.
func Order(all []Cell) (t table.Table, failed int) {
	t = table.Table{ID: "order", Title: "Order of methods: published and own", Columns: []table.Column{
		table.TextColumn("network", "network"), table.TextColumn("dataset", "data set"),
		table.TextColumn("first", "ahead in the paper"), table.TextColumn("second", "of"),
		table.NumberColumn("published_difference", "published"), table.NumberColumn("own_difference", "own"),
		table.TextColumn("verdict", "verdict")}}
	seen := map[string]bool{}
	for _, a := range all {
		for _, b := range all {
			if !comparable(a, b) || *a.Value-*b.Value <= samePoints {
				continue
			}
			own, spread := a.Own-b.Own, math.Hypot(a.OwnSD, b.OwnSD)
			verdict := "same order"
			switch {
			case own >= 0:
			case -own <= max(samePoints, 2*spread)+1e-12: // binary fractions round
				verdict = "reversed, within half a point or the spread of the seeds"
			default:
				verdict = "reversed"
			}
			row := []table.Cell{table.Text(a.Network), table.Text(a.Dataset), table.Text(a.name()), table.Text(b.name()),
				points(*a.Value - *b.Value), points(own), table.Text(verdict)}
			if key := fmt.Sprint(row[0].Text, row[1].Text, row[2].Text, row[3].Text, row[4].Text, paper(a.Source)); !seen[key] {
				seen[key] = true
				t.Rows = append(t.Rows, row)
				if verdict == "reversed" {
					failed++
				}
			}
		}
	}
	t.Notes = []string{"Accuracies of a shorter schedule are not comparable with published ones; the order of methods is. " +
		"Pairs that a paper has within half a point are left out."}
	return t, failed
}

// comparable reports whether the order of two cells means something: both are of one network, data set, recipe and paper, and
// were run.
func comparable(a, b Cell) bool {
	return a.Metric == published.Top1 && b.Metric == published.Top1 && a.Network == b.Network && a.Dataset == b.Dataset &&
		a.Recipe == b.Recipe && a.Batch == b.Batch && paper(a.Source) == paper(b.Source) &&
		a.Value != nil && b.Value != nil && a.N > 0 && b.N > 0
}

// paper is the part of a source that names the paper: "AugLocal (ICLR 2024, ...)".
func paper(source string) string {
	name, _, _ := strings.Cut(source, ")")
	return name
}

// name is the method of a cell with its modules and depth.
func (c Cell) name() string {
	name := c.Method
	if c.Modules > 0 {
		name += fmt.Sprintf(" K=%d", c.Modules)
	}
	if c.AuxDepth > 0 {
		name += fmt.Sprintf(" d=%d", c.AuxDepth)
	}
	if mode := c.Options["mode"]; mode != "" {
		name += " " + mode
	}
	return name
}

func points(x float64) table.Cell { return table.Number(x, fmt.Sprintf("%+.2f points", 100*x)) }
