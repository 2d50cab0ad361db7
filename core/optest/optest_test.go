package optest_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/optest"
	"github.com/localbench/localbench/core/reference"
	"github.com/localbench/localbench/core/rng"
)

const seed = 7

func TestEveryKindHasACase(t *testing.T) {
	for _, k := range optest.Uncovered(optest.Cases()) {
		t.Errorf("kind %s has no case in the op table", k)
	}
}

// Planted fault: the table without one kind is found to lack it.
func TestUncoveredNamesTheKind(t *testing.T) {
	for _, k := range graph.Kinds() {
		rest := slices.DeleteFunc(optest.Cases(), func(c optest.Case) bool { return c.Kind == k })
		if got := optest.Uncovered(rest); len(got) != 1 || got[0] != k {
			t.Errorf("without cases of %s: got %v uncovered", k, got)
		}
	}
}

// Every case builds, fills all that it reads with numbers exact in float32, the
// same each time, and runs on the reference.
func TestCases(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range optest.Cases() {
		if seen[c.String()] {
			t.Errorf("%s is in the table twice", c)
		}
		seen[c.String()] = true
		g, m := runCase(t, c)
		values, again, other := c.Values(g, seed), c.Values(g, seed), c.Values(g, seed+1)
		moved := false
		for _, v := range g.Values {
			content := values[v]
			if reads := v.Category.Persistent() || v.Category == graph.CategoryInput; reads != (content != nil) {
				t.Errorf("%s: %s: filled %t, read %t", c, v, content != nil, reads)
			}
			for i, x := range content {
				if x != float64(float32(x)) || x != again[v][i] {
					t.Errorf("%s: %s: element %d is not exact or not repeatable: %g, then %g", c, v, i, x, again[v][i])
					break
				}
				moved = moved || x != other[v][i]
			}
		}
		if !moved && g.Ops[0].Operands[0].Shape.Elements() > 16 {
			t.Errorf("%s: another seed gives the same numbers", c)
		}
		for _, v := range optest.Written(c.Op(g)) {
			for i, x := range m.Get(v) {
				if math.IsNaN(x) || math.IsInf(x, 0) {
					t.Errorf("%s: %s: element %d is %g", c, v, i, x)
					break
				}
			}
		}
	}
}

// Every in-place permission of every kind is used by some case.
func TestEveryPermissionHasACase(t *testing.T) {
	used := map[string]bool{}
	allowed := map[string]bool{}
	for _, c := range optest.Cases() {
		g, err := c.Graph()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range c.Op(g).InPlace() {
			allowed[fmt.Sprint(c.Kind, p)] = true
		}
		for _, p := range c.Shares {
			used[fmt.Sprint(c.Kind, p)] = true
			if op := c.Op(g); op.Results[p.Result].Shares != op.Operands[p.Operand] {
				t.Errorf("%s: result %d does not lie in operand %d", c, p.Result, p.Operand)
			}
		}
	}
	for p := range allowed {
		if !used[p] {
			t.Errorf("%s is allowed and in no case", p)
		}
	}
}

// Masks stay clear of their kink by more than float32 could move them.
func TestContentsKeepAwayFromKinks(t *testing.T) {
	for _, c := range optest.Cases() {
		sums := c.Kind == graph.KindNormBackward || c.Kind == graph.KindNormBackwardSums
		if !sums && c.Kind != graph.KindReLU && c.Kind != graph.KindConvNormBackward {
			continue
		}
		g, err := c.Graph()
		if err != nil {
			t.Fatal(err)
		}
		op, values := c.Op(g), c.Values(g, seed)
		nearest := math.Inf(1)
		of := op.Operands[0]
		if c.Kind == graph.KindConvNormBackward {
			of = op.Operands[3]
		}
		for i := range of.Shape.Elements() {
			x := values[of][i]
			if c.Kind == graph.KindConvNormBackward {
				channels := op.Operands[3].Shape[3]
				row := values[op.Operands[4]][i%channels:]
				x = x*row[0] + row[graph.CoefficientShift*channels]
			}
			if sums {
				ch := i % op.Operands[2].Shape[0]
				x = values[op.Operands[1]][i] - values[op.Operands[2]][ch]
				x = x/math.Sqrt(values[op.Operands[3]][ch]+op.Attr.Epsilon)*values[op.Operands[4]][ch] + values[op.Operands[5]][ch]
			}
			nearest = min(nearest, math.Abs(x))
		}
		if nearest < 0.05 {
			t.Errorf("%s: a rectifier is %g from its kink", c, nearest)
		}
	}
}

// A rounded reference passes and any element off by three times the allowance
// fails, for every result of every case.
func TestCompareOnEveryCase(t *testing.T) {
	for _, c := range optest.Cases() {
		g, m := runCase(t, c)
		op := c.Op(g)
		for _, v := range optest.Written(op) {
			want, tolerance := m.Get(v), optest.Tolerance(op, v)
			got := rounded(want)
			if err := optest.Compare(got, want, tolerance); err != nil {
				t.Errorf("%s: %s: the rounded reference does not pass: %v", c, v, err)
			}
			largestTolerance := 1e-4
			ofRounded := op.ComputesStatistics() || op.Attr.InputSums
			if v.Type == graph.TypeBF16 || ofRounded && op.Results[0].Type == graph.TypeBF16 {
				largestTolerance += 1.0 / 64
			}
			if tolerance < 0 || tolerance > largestTolerance {
				t.Errorf("%s: %s: tolerance %g", c, v, tolerance)
			}
			largest := 0
			for i := range want {
				if math.Abs(want[i]) > math.Abs(want[largest]) {
					largest = i
				}
			}
			beyond := want[largest] + 3*tolerance*math.Abs(want[largest])
			got[largest] = math.Nextafter32(float32(beyond), float32(math.Inf(1)))
			err := optest.Compare(got, want, tolerance)
			if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("element %d:", largest)) {
				t.Errorf("%s: %s: element %d is off and Compare says %v", c, v, largest, err)
			}
		}
	}
}

func TestCompare(t *testing.T) {
	nan := math.NaN()
	for _, row := range []struct {
		name      string
		got       []float32
		want      []float64
		tolerance float64
		err       string // "" for none
	}{
		{"the same", []float32{1, 2, 3}, []float64{1, 2, 3}, 0, ""},
		{"within the tolerance of the largest", []float32{100, 0.09}, []float64{100, 0}, 1e-2, ""},
		{"beyond it", []float32{100, 0.9}, []float64{100, 0}, 1e-2, "element 1:"},
		{"the worst of two is named", []float32{1.1, 2.5, 3}, []float64{1, 2, 3}, 1e-3, "element 1: got 2.5, want 2"},
		{"all are counted", []float32{1.1, 2.5, 3}, []float64{1, 2, 3}, 1e-3, "(2 of 3 elements"},
		{"not a number", []float32{1, float32(nan)}, []float64{1, 2}, 1, "element 1: got NaN"},
		{"not a number, beside a finite error", []float32{9, float32(nan)}, []float64{1, 2}, 0.1, "element 1: got NaN"},
		{"not a number in the reference", []float32{1, 2}, []float64{1, nan}, 1, "want"},
		{"infinite", []float32{1, float32(math.Inf(1))}, []float64{1, 2}, 1, "element 1: got +Inf"},
		{"too short", []float32{1}, []float64{1, 2}, 1, "1 elements: must be 2"},
		{"tolerance zero asks for the same", []float32{1, 2.0000002}, []float64{1, 2}, 0, "element 1:"},
		{"an expected zero is exact if all are", []float32{0, 1e-20}, []float64{0, 0}, 1e-3, "element 1:"},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := optest.Compare(row.got, row.want, row.tolerance)
			if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
				t.Errorf("got %v, want %q", err, row.err)
			}
		})
	}
}

// The tolerance of a sum is wide enough for the plainest float32 loop, and
// narrow enough to see one term of it missing.
func TestToleranceOfASum(t *testing.T) {
	const rows = 500
	for _, k := range []int{1, 10, 147, 576, 4608, 16384} {
		b := graph.NewBuilder(true)
		y := b.Linear(b.Input("x", graph.Shape{rows, int64(k)}, graph.TypeF32), b.Parameter("w", graph.Shape{1, int64(k)},
			graph.Weight{}), nil)
		if b.Err() != nil {
			t.Fatal(b.Err())
		}
		tolerance := optest.Tolerance(b.Ops()[0], y)
		x := make([]float32, rows*k)
		w := make([]float32, k)
		rng.Stream{Seed: seed, Purpose: rng.PurposeSynthetic}.FillNormal(x, 0, 1)
		rng.Stream{Seed: seed + 1, Purpose: rng.PurposeSynthetic}.FillNormal(w, 0, 1)
		got, want := make([]float32, rows), make([]float64, rows)
		for n := range rows {
			for i := range k {
				got[n] += x[n*k+i] * w[i]
				want[n] += float64(x[n*k+i]) * float64(w[i])
			}
		}
		if err := optest.Compare(got, want, tolerance); err != nil {
			t.Errorf("sum of %d terms: %v", k, err)
		}
		for n := range rows {
			got[n] -= x[n*k+k-1] * w[k-1]
		}
		if optest.Compare(got, want, tolerance) == nil {
			t.Errorf("sum of %d terms: one is missing and nothing was said", k)
		}
	}
}

// runCase runs c on the reference.
func runCase(t *testing.T, c optest.Case) (*graph.Graph, *reference.Machine) {
	t.Helper()
	g, err := c.Graph()
	if err != nil {
		t.Fatal(err)
	}
	m := reference.New(g)
	for v, content := range c.Values(g, seed) {
		m.Set(v, content)
	}
	if err := m.Run(0, len(g.Ops)); err != nil {
		t.Fatalf("%s: %v", c, err)
	}
	return g, m
}

func rounded(x []float64) []float32 {
	out := make([]float32, len(x))
	for i := range x {
		out[i] = float32(x[i])
	}
	return out
}
