package graph

import (
	"slices"
	"strings"
	"testing"
)

func weight(b *Builder, name string, shape ...int64) *Value {
	return b.Parameter(name, shape, Weight{Layout: LayoutConv})
}

// chain is a small valid program: convolution, rectifier in place, pool, linear.
func chain(t *testing.T) *Graph {
	t.Helper()
	b := NewBuilder(true)
	x := b.Input("x", Shape{2, 6, 5, 3}, TypeF32)
	b.InModule(0, PhaseForward, func() {
		y := b.Conv(x, weight(b, "w", 4, 3, 3, 3), nil, ConvOptions{Padding: 1})
		z := b.ReLU(y)
		z.Shares = y
		b.Output(b.Linear(b.AdaptiveAveragePool(z, 1, 1), b.Parameter("fc", Shape{7, 4}, Weight{}), nil))
	})
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestVerifyFindsPlantedFaults breaks a valid program in every way that the
// verifier promises to notice.
func TestVerifyFindsPlantedFaults(t *testing.T) {
	if err := chain(t).Verify(); err != nil {
		t.Fatalf("a valid program: %v", err)
	}
	for _, c := range []struct {
		name, want string
		plant      func(g *Graph)
	}{
		{"id is not the position", "has id", func(g *Graph) { g.Values[1].ID = 0 }},
		{"operand read before it is made", "read before", func(g *Graph) { g.Ops[0], g.Ops[1] = g.Ops[1], g.Ops[0] }},
		{"value made twice", "made twice", func(g *Graph) { g.Ops = append(g.Ops, g.Ops[3]) }},
		{"wrong result shape", "must be f32[2x6x5x4]", func(g *Graph) { g.Ops[0].Results[0].Shape = Shape{2, 6, 5, 8} }},
		{"foreign operand", "not a value of this graph", func(g *Graph) { g.Ops[0].Operands[0] = &Value{Shape: Shape{2, 6, 5, 3}} }},
		{"missing operand", "is missing", func(g *Graph) { g.Ops[0].Operands[1] = nil }},
		{"operand too many", "operands: must be", func(g *Graph) { g.Ops[1].Operands = append(g.Ops[1].Operands, g.Values[0]) }},
		{"wrong element type", "must be f32", func(g *Graph) { g.Values[0].Type = TypeU8 }},
		{"in place where the kind forbids", "may not alias", func(g *Graph) { g.Ops[2].Results[0].Shares = g.Ops[1].Results[0] }},
		{"in place over what is needed later", "read later", func(g *Graph) { g.Outputs = append(g.Outputs, g.Ops[0].Results[0]) }},
		{"output that nothing makes", "made by no op", func(g *Graph) { g.Outputs = append(g.Outputs, &Value{Name: "ghost"}) }},
		{"unknown kind", "unknown kind", func(g *Graph) { g.Ops[0].Kind = kindCount }},
	} {
		g := chain(t)
		c.plant(g)
		if err := g.Verify(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		}
	}
}

// TestReadAfterUpdate plants a parameter that is read after its update.
func TestReadAfterUpdate(t *testing.T) {
	b := NewBuilder(true)
	lr, g := b.Input("lr", Shape{1}, TypeF32), b.Input("g", Shape{3}, TypeF32)
	w := b.Parameter("w", Shape{3}, Weight{})
	b.SGD(w, g, b.Momentum(w), lr, SGDOptions{})
	b.ReLU(w)
	built, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	if err := built.Verify(); err == nil || !strings.Contains(err.Error(), "after op 0 updated it") {
		t.Errorf("got %v, want the late read named", err)
	}
}

// TestBuilderKeepsItsFirstError wants the error of the first bad call, with the
// scope and both shapes, and no panic from what follows.
func TestBuilderKeepsItsFirstError(t *testing.T) {
	b := NewBuilder(true)
	x := b.Input("x", Shape{2, 6, 5, 3}, TypeF32)
	b.InModule(3, PhaseForward, func() {
		b.In("layer1.0", func() {
			y := b.Conv(x, weight(b, "w", 4, 3, 3, 8), nil, ConvOptions{})
			mean, variance := b.NormStats(y, nil, nil, 0.1)
			y = b.NormApply(y, mean, variance, mean, mean, 1e-5)
			_, index := b.MaxPool(y, PoolOptions{Kernel: [2]int64{2, 2}})
			b.Output(b.Add(y, index))
		})
	})
	_, err := b.Graph()
	if err == nil {
		t.Fatal("a convolution of 3 channels with a weight for 8 was accepted")
	}
	for _, want := range []string{"module3/layer1.0", "2x6x5x3", "4x3x3x8"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to name %s", err, want)
		}
	}
}

// TestBadShapes is one bad call a row.
func TestBadShapes(t *testing.T) {
	for _, c := range []struct {
		name, want string
		build      func(b *Builder, x *Value)
	}{
		{"empty extent", "extent of 0", func(b *Builder, x *Value) { b.Input("e", Shape{0, 3}, TypeF32) }},
		{"more bytes than an int64", "2^63", func(b *Builder, x *Value) { b.Input("e", Shape{1 << 31, 1 << 31, 4}, TypeF32) }},
		{"name twice", "unique", func(b *Builder, x *Value) { b.Input("x", Shape{1}, TypeF32) }},
		{"window beyond the input", "larger than the padded input",
			func(b *Builder, x *Value) { b.Conv(x, weight(b, "w", 4, 9, 9, 3), nil, ConvOptions{}) }},
		{"pool beyond the input", "output of 0x", func(b *Builder, x *Value) {
			b.MaxPool(x, PoolOptions{Kernel: [2]int64{7, 7}, Stride: [2]int64{8, 8}})
		}},
		{"groups that do not divide", "groups",
			func(b *Builder, x *Value) { b.Conv(x, weight(b, "w", 4, 1, 1, 1), nil, ConvOptions{Groups: 3}) }},
		{"one sample for statistics", "at least 2", func(b *Builder, x *Value) {
			b.NormStats(b.AdaptiveAveragePool(b.Input("one", Shape{1, 2, 2, 3}, TypeF32), 1, 1), nil, nil, 0)
		}},
		{"labels of another batch", "labels", func(b *Builder, x *Value) {
			b.CrossEntropy(b.Input("l", Shape{4, 10}, TypeF32), b.Input("labels", Shape{3}, TypeS32))
		}},
	} {
		b := NewBuilder(true)
		c.build(b, b.Input("x", Shape{2, 6, 5, 3}, TypeF32))
		if _, err := b.Graph(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		}
	}
}

// TestCanonicalOrder checks the permutation of weights by hand: OHWI to OIHW
// and back, and a linear layer after a flattened map.
func TestCanonicalOrder(t *testing.T) {
	conv := &Value{Shape: Shape{1, 1, 2, 3}, Weight: &Weight{Layout: LayoutConv}}
	program, back := make([]int, 6), make([]int, 6)
	ToProgram(conv, program, []int{0, 1, 2, 3, 4, 5}) // i0: 0 1, i1: 2 3, i2: 4 5
	if want := [6]int{0, 2, 4, 1, 3, 5}; [6]int(program) != want {
		t.Errorf("OIHW to OHWI: %v, want %v", program, want)
	}
	ToCanonical(conv, back, program)
	if want := [6]int{0, 1, 2, 3, 4, 5}; [6]int(back) != want {
		t.Errorf("there and back: %v, want %v", back, want)
	}
	linear := &Value{Shape: Shape{2, 4}, Weight: &Weight{Layout: LayoutFlattened, Source: [3]int64{2, 1, 2}}}
	rows := make([]int, 8)
	ToProgram(linear, rows, []int{0, 1, 2, 3, 4, 5, 6, 7})
	if want := [8]int{0, 2, 1, 3, 4, 6, 5, 7}; [8]int(rows) != want {
		t.Errorf("flattened CHW to HWC: %v, want %v", rows, want)
	}
	if s := conv.CanonicalShape(); !s.Equal(Shape{1, 3, 1, 2}) {
		t.Errorf("canonical shape %s, want 1x3x1x2", s)
	}
}

// TestPieces reorders values piece by piece: together the pieces are all elements, each is whole rows and has at most the
// number asked for unless a row is longer, and what they give is what the whole gives.
func TestPieces(t *testing.T) {
	plain := &Value{Shape: Shape{7, 5}, Weight: &Weight{}}
	conv := &Value{Shape: Shape{5, 2, 3, 4}, Weight: &Weight{Layout: LayoutConv}}
	flattened := &Value{Shape: Shape{3, 12}, Weight: &Weight{Layout: LayoutFlattened, Source: [3]int64{2, 3, 2}}}
	for _, c := range []struct {
		v     *Value
		most  int64
		sizes []int64
	}{
		{plain, 16, []int64{16, 16, 3}},
		{plain, 35, []int64{35}},
		{plain, 0, slices.Repeat([]int64{1}, 35)},
		{conv, 71, []int64{48, 48, 24}},
		{conv, 5, []int64{24, 24, 24, 24, 24}},
		{conv, 1 << 40, []int64{120}},
		{flattened, 24, []int64{24, 12}},
	} {
		all := c.v.Shape.Elements()
		canonical, whole, pieced, back := make([]int64, all), make([]int64, all), make([]int64, all), make([]int64, all)
		for i := range canonical {
			canonical[i] = int64(i)
		}
		ToProgram(c.v, whole, canonical)
		var sizes []int64
		end := int64(0)
		for first, n := range c.v.Pieces(c.most) {
			if first != end {
				t.Fatalf("%s in pieces of %d: one begins at %d, want %d", c.v.Shape, c.most, first, end)
			}
			end = first + n
			sizes = append(sizes, n)
			ToProgram(c.v, pieced[first:end], canonical[first:end])
			ToCanonical(c.v, back[first:end], whole[first:end])
		}
		if !slices.Equal(sizes, c.sizes) {
			t.Errorf("%s in pieces of %d: got %d, want %d", c.v.Shape, c.most, sizes, c.sizes)
		}
		if !slices.Equal(pieced, whole) || !slices.Equal(back, canonical) {
			t.Errorf("%s in pieces of %d: got %d and %d", c.v.Shape, c.most, pieced, back)
		}
	}
}
