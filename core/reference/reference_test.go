package reference

import (
	"math"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/graph"
)

func TestEveryKindHasAKernel(t *testing.T) {
	for _, k := range graph.Kinds() {
		if _, ok := kernel(k); !ok {
			t.Errorf("kind %s has no kernel", k)
		}
	}
}

// Every row is a program that must be refused with a sentence.
func TestRunRefuses(t *testing.T) {
	for _, row := range []struct {
		name  string
		build func(b *graph.Builder)
		set   map[string][]float64
		last  int
		want  string
	}{
		{"a content of the wrong length", func(b *graph.Builder) { b.ReLU(b.Input("x", graph.Shape{2, 3}, graph.TypeF32)) },
			map[string][]float64{"x": {1, 2}}, 1, "2 elements, must be 6"},
		{"ops beyond the end", func(b *graph.Builder) { b.ReLU(b.Input("x", graph.Shape{2, 3}, graph.TypeF32)) },
			nil, 2, "must be a range within 0 to 1"},
		{"a label that is no class", func(b *graph.Builder) {
			b.CrossEntropy(b.Input("x", graph.Shape{2, 3}, graph.TypeF32), b.Input("labels", graph.Shape{2}, graph.TypeS32))
		}, map[string][]float64{"labels": {0, 3}}, 1, "label 3 of sample 1"},
		{"an index outside of the window", func(b *graph.Builder) {
			_, _ = b.MaxPool(b.Input("x", graph.Shape{1, 2, 2, 1}, graph.TypeF32), graph.PoolOptions{Kernel: [2]int64{2, 2}})
			pool := *b.Ops()[0]
			pool.Results = []*graph.Value{nil, b.Input("index", graph.Shape{1, 1, 1, 1}, graph.TypeU8)}
			b.MaxPoolBackward(&pool, b.Input("dy", graph.Shape{1, 1, 1, 1}, graph.TypeF32))
		}, map[string][]float64{"index": {4}}, 2, "outside of its window"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := graph.NewBuilder(true)
			row.build(b)
			g, err := b.Graph()
			if err != nil {
				t.Fatal(err)
			}
			m := New(g)
			for name, content := range row.set {
				m.Set(g.Input(name), content)
			}
			if err := m.Run(0, row.last); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got error %v, want %q", err, row.want)
			}
		})
	}
}

// What PyTorch does otherwise or does not show: worked by hand.
func TestByHand(t *testing.T) {
	for _, row := range []struct {
		name  string
		build func(b *graph.Builder, x *graph.Value)
		x     []float64 // [1 2 2 1] or, as bytes, [1 1 2 2]
		bytes bool
		want  [][]float64 // results of the last op
	}{
		{"of equal maxima the first counts", func(b *graph.Builder, x *graph.Value) {
			b.MaxPool(x, graph.PoolOptions{Kernel: [2]int64{2, 2}})
		}, []float64{1, 5, 5, 5}, false, [][]float64{{5}, {1}}},
		{"padding does not win against negative elements", func(b *graph.Builder, x *graph.Value) {
			b.MaxPool(x, graph.PoolOptions{Kernel: [2]int64{2, 2}, Stride: [2]int64{2, 2}, Padding: [2]int64{1, 1}})
		}, []float64{-1, -2, -3, -4}, false, [][]float64{{-1, -2, -3, -4}, {3, 2, 1, 0}}},
		{"of equal logits the first is the prediction", func(b *graph.Builder, x *graph.Value) {
			logits := b.Linear(x, b.Input("w", graph.Shape{2, 4}, graph.TypeF32), nil) // w zero: equal logits
			b.CrossEntropy(logits, b.Input("labels", graph.Shape{1}, graph.TypeS32))   // label 0
		}, []float64{1, 2, 3, 4}, false, [][]float64{{math.Ln2}, {1}, {0.5, 0.5}}},
		{"the gradient of a rectifier is zero at zero", func(b *graph.Builder, x *graph.Value) {
			b.ReLU(x)
			b.ReLUBackward(b.Ops()[0], x)
		}, []float64{-1, 0, 2, 3}, false, [][]float64{{0, 0, 2, 3}}},
		{"the gradient of a bounded rectifier is zero at its bound", func(b *graph.Builder, x *graph.Value) {
			b.ReLU6(x)
			b.ReLUBackward(b.Ops()[0], x)
		}, []float64{5, 6, 7, -1}, false, [][]float64{{5, 0, 0, 0}}},
		{"a sum", func(b *graph.Builder, x *graph.Value) { b.Add(x, b.Detach(x)) },
			[]float64{-1, 0, 2, 3}, false, [][]float64{{-2, 0, 4, 6}}},
		{"bytes are normalised by channel", func(b *graph.Builder, x *graph.Value) {
			b.NormalizeImage(x, [4]float64{100, 20}, [4]float64{50, 10})
		}, []float64{0, 255, 200, 10}, true, [][]float64{{-2, 23.5, 2, -1}}},
		{"the variance is the biased one", func(b *graph.Builder, x *graph.Value) { b.NormStats(x, nil, nil, 0.1) },
			[]float64{1, 5, 3, 1}, false, [][]float64{{2.5}, {2.75}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := graph.NewBuilder(true)
			shape, element := graph.Shape{1, 2, 2, 1}, graph.TypeF32
			if row.bytes {
				shape, element = graph.Shape{1, 1, 2, 2}, graph.TypeU8
			}
			x := b.Input("x", shape, element)
			row.build(b, x)
			g, err := b.Graph()
			if err != nil {
				t.Fatal(err)
			}
			m := New(g)
			m.Set(x, row.x)
			if err := m.Run(0, len(g.Ops)); err != nil {
				t.Fatal(err)
			}
			for i, v := range g.Ops[len(g.Ops)-1].Results {
				if err := near(m.Get(v), row.want[i]); err != nil {
					t.Errorf("result %d: %v", i, err)
				}
			}
		})
	}
}

// Sums in bf16 are exact, and rounded when they are done: 257 is no number of bf16, and
// the tie goes to the even 256, 259 to 260.
func TestResultsAreRounded(t *testing.T) {
	b := graph.NewBuilder(true)
	x, y := b.Input("x", graph.Shape{3}, graph.TypeBF16), b.Input("y", graph.Shape{3}, graph.TypeBF16)
	sum := b.Add(x, y)
	up := b.Cast(sum, graph.TypeF32)
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	m := New(g)
	m.Set(x, []float64{256, 256, 256})
	m.Set(y, []float64{1, 3, -1})
	if err := m.Run(0, len(g.Ops)); err != nil {
		t.Fatal(err)
	}
	for _, v := range []*graph.Value{sum, up} {
		if err := near(m.Get(v), []float64{256, 260, 255}); err != nil {
			t.Errorf("%s: %v", v, err)
		}
	}
}

// Storage that the plan shares is not shared here: the operand keeps its content.
func TestSharesAreNotLookedAt(t *testing.T) {
	b := graph.NewBuilder(true)
	x := b.Input("x", graph.Shape{1, 2}, graph.TypeF32)
	y := b.ReLU(x)
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	y.Shares = x
	m := New(g)
	m.Set(x, []float64{-1, 2})
	if err := m.Run(0, 1); err != nil {
		t.Fatal(err)
	}
	if err := near(m.Get(x), []float64{-1, 2}); err != nil {
		t.Error(err)
	}
}
