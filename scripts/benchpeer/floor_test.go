package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/graph"
)

// TestFloors counts a convolution with its gradient and update by hand.
func TestFloors(t *testing.T) {
	b := graph.NewBuilder(true)
	x := b.Input("x", graph.Shape{2, 4, 4, 8}, graph.TypeF32)
	w := b.Parameter("w", graph.Shape{16, 1, 1, 8}, graph.Weight{Layout: graph.LayoutConv})
	y := b.Conv(x, w, nil, graph.ConvOptions{})
	dw, _ := b.ConvBackwardWeights(b.Ops()[0], y)
	b.SGD(w, dw, b.Momentum(w), b.Input("lr", graph.Shape{1}, graph.TypeF32), graph.SGDOptions{})
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	const pixels, weights = 2 * 4 * 4, 16 * 8
	floors := floorsOf(g)
	for kind, want := range map[graph.Kind]floor{
		graph.KindConv: {Ops: 1, FLOPs: 2 * pixels * weights, Bytes: 4 * (pixels*(8+16) + weights), HalfBytes: 2*pixels*(8+16) +
			4*weights},
		// The gradient of the parameter stays f32.
		graph.KindConvBackwardWeights: {Ops: 1, FLOPs: 2 * pixels * weights, Bytes: 4 * (pixels*(8+16) + weights),
			HalfBytes: 2*pixels*(8+16) + 4*weights},
		// Parameter and momentum are read and written.
		graph.KindSGD: {Ops: 1, Bytes: 4 * (5*weights + 1), HalfBytes: 4 * (5*weights + 1)},
	} {
		if floors[kind] != want {
			t.Errorf("%s: got %+v, want %+v", kind, floors[kind], want)
		}
	}
}

// TestPerformanceDocument compares the tables of docs/performance.md with the program.
func TestPerformanceDocument(t *testing.T) {
	document, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	o := options{dataset: "cifar10", network: "resnet110", batch: 1024, depth: 3, backend: "cpu", precision: "f32"}
	if err := o.printFloors(&printed, []string{"bp", "auglocal"}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(printed.String()) {
		if !strings.HasPrefix(line, "#") && !bytes.Contains(document, []byte(line)) {
			t.Errorf("docs/performance.md lacks %q: paste what its command prints", line)
		}
	}
}
