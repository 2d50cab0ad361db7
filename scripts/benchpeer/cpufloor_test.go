package main

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/reports/table"
)

// TestDistances computes floors and distances by hand: a convolution that is bound by arithmetic, one that is bound by bytes on
// the same rates, and a rectifier.
func TestDistances(t *testing.T) {
	b := graph.NewBuilder(true)
	x := b.Input("x", graph.Shape{2, 4, 4, 8}, graph.TypeF32)
	one := b.Parameter("one", graph.Shape{8, 1, 1, 8}, graph.Weight{Layout: graph.LayoutConv})
	nine := b.Parameter("nine", graph.Shape{8, 3, 3, 8}, graph.Weight{Layout: graph.LayoutConv})
	y := b.Conv(x, one, nil, graph.ConvOptions{})
	z := b.Conv(y, nine, nil, graph.ConvOptions{Padding: 1})
	b.ReLU(z)
	const pixels, channels = 2 * 4 * 4, 8
	const flops1, flops9 = 2 * pixels * channels * channels, 9 * 2 * pixels * channels * channels
	const bytes1, bytes9, bytesReLU = 4 * (2*pixels*channels + 64), 4 * (2*pixels*channels + 9*64), 4 * 2 * pixels * channels
	// A small copy is faster than a larger one; what is larger than all has the last rate.
	c := ceilings{Copies: []copied{{5000, 1000}, {8192, 500}, {1 << 20, 400}}, FLOPs: 5000}
	for bytes, want := range map[int64]float64{1: 1000, 5000: 1000, 5001: 500, 8193: 400, 1 << 30: 400} {
		if got := c.rate(bytes); got != want {
			t.Errorf("the rate of %d bytes: got %g, want %g", bytes, got, want)
		}
	}
	least := float64(bytes1)/1000 + float64(flops9)/5000
	rows := distances(b.Ops(), []float64{3, 10, 2.5}, c)
	want := []distance{
		{"conv", floor{Ops: 2, FLOPs: flops1 + flops9, Bytes: bytes1 + bytes9}, least, 13, float64(flops9) / 5000,
			float64(bytes1) / 1000},
		{"relu", floor{Ops: 1, Bytes: bytesReLU}, float64(bytesReLU) / 1000, 2.5, 0, float64(bytesReLU) / 1000},
		{"all", floor{Ops: 3, FLOPs: flops1 + flops9, Bytes: bytes1 + bytes9 + bytesReLU}, least + float64(bytesReLU)/1000, 15.5,
			float64(flops9) / 5000, float64(bytes1+bytesReLU) / 1000},
	}
	if float64(flops9)/5000 <= float64(bytes9)/1000 || float64(flops1)/5000 >= float64(bytes1)/1000 {
		t.Fatal("the rates bound both convolutions by the same")
	}
	if len(rows) != len(want) {
		t.Fatalf("got %d rows, want %d", len(rows), len(want))
	}
	for i, w := range want {
		g := rows[i]
		for _, pair := range [][2]float64{{g.least, w.least}, {g.took, w.took}, {g.arithmetic, w.arithmetic}, {g.data, w.data}} {
			if math.Abs(pair[0]-pair[1]) > 1e-12*max(1, w.took) {
				t.Errorf("row %d: got %+v, want %+v", i, g, w)
			}
		}
		if g.name != w.name || g.sum.Ops != w.sum.Ops || g.sum.FLOPs != w.sum.FLOPs || g.sum.Bytes != w.sum.Bytes {
			t.Errorf("row %d: got %+v, want %+v", i, g, w)
		}
	}
	markdown, err := table.Lookup("markdown")
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := markdown.Write(&text, distanceTable("a step", rows)); err != nil || !strings.Contains(text.String(), "| all ") {
		t.Errorf("got %v and %s, want a row of all", err, text.String())
	}
}

// TestCeilings compiles the program that measures the cpu and checks what it prints, and what it refuses.
func TestCeilings(t *testing.T) {
	const source = "../cpu_ceilings.cc"
	if _, err := measureCeilings(source, 0); err == nil || !strings.Contains(err.Error(), "number of threads") {
		t.Errorf("no threads: got %v, want them named", err)
	}
	broken := filepath.Join(t.TempDir(), "broken.cc")
	if err := os.WriteFile(broken, []byte("int main() { return x; }\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := measureCeilings(broken, 1); err == nil || !strings.Contains(err.Error(), "compiling") {
		t.Errorf("a program that does not compile: got %v, want it to say so", err)
	}
	if testing.Short() {
		t.Skip("-short: the rates are not measured")
	}
	c, err := measureCeilings(source, 1)
	if err != nil {
		t.Fatal(err)
	}
	// No cpu of the last twenty years is outside of these, and no unit or count can be wrong by more.
	if c.Threads != 1 || c.ISA == "" || c.rate(1) < 1e8 || c.rate(1) > 1e13 || c.rate(1) < c.rate(1<<30) ||
		c.FLOPs < 1e8 || c.FLOPs > 1e13 {
		t.Errorf("got %+v, want the rates of one thread of a cpu", c)
	}
}
