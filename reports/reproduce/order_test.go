package reproduce

import (
	"testing"

	"github.com/localbench/localbench/results/published"
)

// A pair counts if the paper has it clearly apart; it fails if it is clearly reversed here.
func TestOrder(t *testing.T) {
	cell := func(method, source string, value, own, sd float64, n int) Cell {
		return Cell{Cell: published.Cell{Network: "resnet32", Dataset: "cifar10", Method: method, Metric: published.Top1,
			Value: &value, Source: source}, Own: own, OwnSD: sd, N: n}
	}
	const paper = "AugLocal (ICLR 2024), table 1"
	for _, row := range []struct {
		what         string
		cells        []Cell
		pairs, fails int
	}{
		{"same order", []Cell{cell("bp", paper, 0.94, 0.80, 0, 1), cell("dgl", paper, 0.86, 0.70, 0, 1)}, 1, 0},
		{"reversed", []Cell{cell("bp", paper, 0.94, 0.70, 0, 1), cell("dgl", paper, 0.86, 0.80, 0, 1)}, 1, 1},
		{"reversed by half a point", []Cell{cell("bp", paper, 0.94, 0.70, 0, 1), cell("dgl", paper, 0.86, 0.705, 0, 1)}, 1, 0},
		{"reversed within the spread", []Cell{cell("bp", paper, 0.94, 0.70, 0.03, 3), cell("dgl", paper, 0.86, 0.75, 0.04, 3)}, 1, 0},
		{"reversed beyond the spread", []Cell{cell("bp", paper, 0.94, 0.70, 0.003, 3), cell("dgl", paper, 0.86, 0.75, 0.004, 3)}, 1, 1},
		{"close in the paper", []Cell{cell("bp", paper, 0.940, 0.70, 0, 1), cell("man", paper, 0.936, 0.80, 0, 1)}, 0, 0},
		{"other papers", []Cell{cell("bp", paper, 0.94, 0.70, 0, 1), cell("dgl", "InfoPro (ICLR 2021)", 0.86, 0.80, 0, 1)}, 0, 0},
		{"not run", []Cell{cell("bp", paper, 0.94, 0, 0, 0), cell("dgl", paper, 0.86, 0.80, 0, 1)}, 0, 0},
	} {
		got, failed := Order(row.cells)
		if len(got.Rows) != row.pairs || failed != row.fails {
			t.Errorf("%s: %d pairs and %d failures, want %d and %d", row.what, len(got.Rows), failed, row.pairs, row.fails)
		}
	}
}
