package eager

import (
	"encoding/csv"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/graph"
)

// convolution is an op over maps of the given channels and weights [K R S C/groups], of one of the three kinds.
func convolution(kind string, batch, c, h, w, k, r, s, stride, padding, groups int64) *graph.Op {
	x := &graph.Value{Shape: graph.Shape{batch, h, w, c}}
	weights := &graph.Value{Shape: graph.Shape{k, r, s, c / groups}}
	y := &graph.Value{Shape: graph.Shape{batch, (h+2*padding-r)/stride + 1, (w+2*padding-s)/stride + 1, k}}
	op := &graph.Op{Attr: graph.Attributes{Groups: groups}}
	switch kind {
	case "conv":
		op.Kind, op.Operands, op.Results = graph.KindConv, []*graph.Value{x, weights}, []*graph.Value{y}
	case "conv_backward_data":
		op.Kind, op.Operands, op.Results = graph.KindConvBackwardData, []*graph.Value{y, weights}, []*graph.Value{x}
	default:
		op.Kind, op.Operands, op.Results = graph.KindConvBackwardWeights, []*graph.Value{x, y}, []*graph.Value{weights}
	}
	return op
}

// TestConvWorkspace: by hand, a convolution of 2 maps of 10x10 with 8 channels to 16, over 3x3 with padding 1: x has 6400 bytes,
// y 12800, the weights 4608.
func TestConvWorkspace(t *testing.T) {
	o := Options{Workspaces: true}
	for _, c := range []struct {
		name string
		op   *graph.Op
		want int64
	}{
		{"forward", convolution("conv", 2, 8, 10, 10, 16, 3, 3, 1, 1, 1), 6400 + 4608},
		{"gradient of the maps", convolution("conv_backward_data", 2, 8, 10, 10, 16, 3, 3, 1, 1, 1), 6400 + 4608 + 12800},
		{"gradient of the weights", convolution("conv_backward_weights", 2, 8, 10, 10, 16, 3, 3, 1, 1, 1), 6400 + 4608 + 12800},
		{"grouped, forward", convolution("conv", 2, 8, 10, 10, 16, 3, 3, 1, 1, 2), 0},
		{"grouped, gradient of the weights", convolution("conv_backward_weights", 2, 8, 10, 10, 16, 3, 3, 1, 1, 2),
			6400 + 2304 + 12800},
		{"depthwise", convolution("conv_backward_weights", 2, 8, 10, 10, 8, 3, 3, 1, 1, 8), 0},
		{"of images", convolution("conv_backward_weights", 2, 3, 10, 10, 8, 3, 3, 1, 1, 1), 0},
		{"over 1x1", convolution("conv", 2, 8, 10, 10, 16, 1, 1, 1, 0, 1), 0},
	} {
		if got := o.workspace(c.op); got != c.want {
			t.Errorf("%s: got %d bytes, want %d", c.name, got, c.want)
		}
		if got := (Options{}).workspace(c.op); got != 0 {
			t.Errorf("%s: got %d bytes without the option, want 0", c.name, got)
		}
	}
}

// TestConvWorkspaceLikeCuDNN compares the estimate with what two versions of cuDNN answer for the convolutions of twelve networks
// (testdata/make_workspaces.py): of convolutions without groups at least three in four within 15 %.
func TestConvWorkspaceLikeCuDNN(t *testing.T) {
	f, err := os.Open("testdata/workspaces.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	near, all := map[string]int{}, map[string]int{}
	for _, row := range rows[1:] {
		var n [11]int64
		for i := range n {
			if n[i], err = strconv.ParseInt(row[3+i], 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		op := convolution(row[2], n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9])
		class := "grouped"
		if n[9] == 1 {
			class = "dense"
		}
		want, got := n[10], (Options{Workspaces: true}).workspace(op)
		all[class]++
		if off := max(got-want, want-got); off <= max(want*15/100, 1<<20) {
			near[class]++
		} else {
			t.Logf("%s: got %d MiB", strings.Join(row, ","), got>>20)
		}
	}
	for class, count := range all {
		t.Logf("%s: %d of %d are near", class, near[class], count)
	}
	if 4*near["dense"] < 3*all["dense"] || all["dense"] < 100 {
		t.Errorf("%d of %d convolutions without groups are near what cuDNN answers, want three in four", near["dense"], all["dense"])
	}
}

// TestLimit plays by hand: 12 and 30 MiB are allocated and freed, so 42 MiB are cached. With a limit of 50 MiB another 40 MiB do
// not fit beside them; the cache is given back first. 60 MiB never fit.
func TestLimit(t *testing.T) {
	const mib = 1 << 20
	a := newAllocator(50 * mib)
	first, second := a.allocate(12*mib), a.allocate(30*mib)
	a.free(first)
	a.free(second)
	b := a.allocate(40 * mib)
	if a.reserved != 40*mib || a.most != 42*mib || a.full {
		t.Errorf("got %d bytes reserved, %d at most, full: %v, want 40 MiB, 42 MiB and not full", a.reserved, a.most, a.full)
	}
	a.free(b)
	if a.allocate(60 * mib); !a.full {
		t.Error("60 MiB within 50 MiB: want out of memory")
	}
}
