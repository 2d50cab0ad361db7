package engine_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
)

// TestParts writes and reads a parameter and an input part by part: what a step reads and leaves is that of
// values that were copied whole, a part leaves its neighbours alone, and one that does not lie in
// the value is refused.
func TestParts(t *testing.T) {
	for _, backend := range append(enginetest.Backends(), "reference") {
		t.Run(backend, func(t *testing.T) {
			b := graph.NewBuilder(true)
			w := b.Parameter("w", graph.Shape{6}, graph.Weight{})
			x := b.Input("x", graph.Shape{6}, graph.TypeF32)
			sum := b.Add(w, x)
			b.Output(sum)
			g, err := b.Graph()
			if err != nil {
				t.Fatal(err)
			}
			p := bind(t, openDevice(t, backend, 1), g)
			put := func(v *graph.Value, first int64, src ...float32) {
				t.Helper()
				if err := p.WriteAt(v, first, src); err != nil {
					t.Fatal(err)
				}
			}
			put(w, 0, 9, 9, 9, 9, 9, 9)
			put(w, 1, 10, 20)
			put(w, 5, 50)
			put(x, 4, 4, 5)
			put(x, 0, 0, 1, 2, 3)
			put(x, 6)
			if err := p.Run(0, 1); err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				v     *graph.Value
				first int64
				want  []float32
			}{
				{w, 0, []float32{9, 10, 20, 9, 9, 50}},
				{w, 1, []float32{10, 20, 9}},
				{sum, 0, []float32{9, 11, 22}},
				{sum, 3, []float32{12, 13, 55}},
				{sum, 6, []float32{}},
			} {
				got := make([]float32, len(c.want))
				if err := p.ReadAt(c.v, c.first, got); err != nil || !slices.Equal(got, c.want) {
					t.Errorf("%s from %d on: got %v, %v, want %v", c.v.Name, c.first, got, err, c.want)
				}
			}
			for _, c := range []struct {
				name, want string
				first      int64
				part       any
			}{
				{"an end beyond the value's", "2 elements from 5 on: must be within its 6", 5, make([]float32, 2)},
				{"a place beyond the value's end", "0 elements from 7 on", 7, []float32{}},
				{"a place before it", "from -1 on", -1, make([]float32, 1)},
				{"another type", "of s32", 0, make([]int32, 1)},
			} {
				for _, err := range []error{p.WriteAt(w, c.first, c.part), p.ReadAt(w, c.first, c.part)} {
					if err == nil || !strings.Contains(err.Error(), c.want) {
						t.Errorf("%s: got %v, want it to say %q", c.name, err, c.want)
					}
				}
			}
		})
	}
}

// TestPartOfLabels names the sample of a label that is no class by its place in the value. The
// cpu backend looks at labels when it runs.
func TestPartOfLabels(t *testing.T) {
	backends := enginetest.Backends()
	b := graph.NewBuilder(true)
	logits, labels := b.Input("logits", graph.Shape{4, 3}, graph.TypeF32), b.Input("labels", graph.Shape{4}, graph.TypeS32)
	loss, _, _ := b.CrossEntropy(logits, labels)
	b.Output(loss)
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	p := bind(t, enginetest.Open(t, backends[len(backends)-1], engine.Options{}), g)
	if err := p.WriteAt(labels, 2, []int32{2, 0}); err != nil {
		t.Fatal(err)
	}
	if err := p.WriteAt(labels, 2, []int32{0, 3}); err == nil ||
		!strings.Contains(err.Error(), "label 3 of sample 3: the classes are 0 to 2") {
		t.Errorf("got %v, want the label and the sample named", err)
	}
}
