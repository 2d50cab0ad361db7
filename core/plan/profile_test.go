package plan

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"github.com/localbench/localbench/core/graph"
)

// holdProfile checks the sums of a profile against a recount that looks at
// every value at every op.
func holdProfile(t *testing.T, p *program, got *Profile) {
	t.Helper()
	if want := recount(p); !slices.Equal(got.Timeline, want) {
		t.Fatalf("timeline %v, want %v", got.Timeline, want)
	}
	var peak, modules, scopes int64
	for _, s := range got.Timeline {
		peak = max(peak, s.Total())
	}
	for _, m := range got.ByModule {
		modules += m.Bytes
	}
	for _, s := range got.ByScope {
		scopes += s.Bytes
	}
	if got.PlannedPeakBytes != peak || got.ByCategory.Total() != peak || modules != peak || scopes != peak {
		t.Fatalf("peak %d, by category %d, by module %d, by scope %d, want all %d", got.PlannedPeakBytes, got.ByCategory.Total(),
			modules, scopes, peak)
	}
	if got.ArenaBytes != got.PlannedPeakBytes+got.ReservedBytes+got.FragmentationBytes {
		t.Fatalf("arena %d is not peak %d + reserved %d + fragmentation %d", got.ArenaBytes, got.PlannedPeakBytes,
			got.ReservedBytes, got.FragmentationBytes)
	}
	if len(got.Top) > 10 || !slices.IsSortedFunc(got.Top, func(a, b ValueBytes) int { return int(b.Bytes - a.Bytes) }) {
		t.Fatalf("top %v, want at most ten, the largest first", got.Top)
	}
}

// recount computes the timeline slowly, directly from its definition.
func recount(p *program) []Sample {
	samples := make([]Sample, max(1, len(p.Ops)))
	for at := range samples {
		for _, v := range p.Values {
			made, read, known := 0, 0, v.Category.Persistent() || v.Category == graph.CategoryInput
			taken := false
			for i, op := range p.Ops {
				if slices.Contains(op.Results, v) {
					made, read, known = i, max(read, i), true
				}
				if slices.Contains(op.Operands, v) {
					read = max(read, i)
				}
				for _, r := range op.Results {
					taken = taken || r.Shares == v && i <= at
				}
			}
			forEver := v.Category.Persistent() || slices.Contains(p.Outputs, v)
			if known && made <= at && (at <= read || forEver) && !taken {
				samples[at][v.Category] += v.Bytes()
			}
		}
		if at < len(p.Ops) {
			samples[at][graph.CategoryWorkspace] += p.workspaces[at]
		}
	}
	return samples
}

// TestProfileByHand holds every field against a program worked out on paper.
func TestProfileByHand(t *testing.T) {
	p := &program{}
	x := p.value("x", 100, graph.CategoryInput)
	w := p.value("w", 10, graph.CategoryParameter)
	a := p.activation("a", 200, x, w)                // op 0: w x a
	b := p.inPlace("b", graph.CategoryGradient, a)   // op 1: w b
	c := p.value("c", 300, graph.CategoryActivation) // op 2: w b c, workspaces 1000
	c.Module = 1
	p.op(1000, []*graph.Value{c}, b)
	p.Ops[2].Module, p.Ops[2].Phase = 1, graph.PhaseBackward
	p.activation("d", 50, c) // op 3: w c d

	got := Measure(&p.Graph, p.workspaces, plan(t, p, Options{}))
	sample := func(parameter, gradient, activation, workspace, input int64) Sample {
		var s Sample
		s[graph.CategoryParameter], s[graph.CategoryGradient], s[graph.CategoryActivation] = parameter, gradient, activation
		s[graph.CategoryWorkspace], s[graph.CategoryInput] = workspace, input
		return s
	}
	want := &Profile{
		PlannedPeakBytes: 1510,
		PeakOp:           OpPlace{2, graph.KindConv, "module0/op2", 1, graph.PhaseBackward},
		ByCategory:       sample(10, 200, 300, 1000, 0),
		ByModule:         []ModuleBytes{{0, 210}, {1, 1300}},
		ByScope:          []ScopeBytes{{"module0/op2", 1000}, {"module0/c", 300}, {"module0/b", 200}, {"module0/w", 10}},
		Alive: []ValueBytes{
			{"module0/op2:workspace", "module0/op2", graph.CategoryWorkspace, 1, 1000},
			{"c", "module0/c", graph.CategoryActivation, 1, 300},
			{"b", "module0/b", graph.CategoryGradient, 0, 200},
			{"w", "module0/w", graph.CategoryParameter, 0, 10},
		},
		ByPhase: map[graph.Phase]int64{graph.PhaseForward: 360, graph.PhaseBackward: 1510},
		Timeline: []Sample{
			sample(10, 0, 200, 0, 100),
			sample(10, 200, 0, 0, 0),
			sample(10, 200, 300, 1000, 0),
			sample(10, 0, 350, 0, 0),
		},
		// Rounded: w 64, b 256, c 320, workspaces 1024.
		ArenaBytes: 1664, LowerBoundBytes: 1664, FragmentationBytes: 154,
	}
	want.Top = want.Alive // fewer than ten
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got, want := got.PeakOp.String(), "conv at module0/op2 (backward, op 2)"; got != want {
		t.Errorf("peak op %q, want %q", got, want)
	}
	holdProfile(t, p, got)
}

// TestProfileOfSteps recounts a training step.
func TestProfileOfSteps(t *testing.T) {
	for _, p := range []*program{chain(12, 12), chain(12, 3), {}} {
		holdProfile(t, p, Measure(&p.Graph, p.workspaces, plan(t, p, Options{})))
	}
}

// TestCategoryCount: a category more in core/graph needs a longer Sample.
func TestCategoryCount(t *testing.T) {
	if len(graph.Categories()) != CategoryCount {
		t.Errorf("samples hold %d categories, the graph has %d", CategoryCount, len(graph.Categories()))
	}
}

// An arena of five lines: a value of two, a hole, workspace of two.
func TestCoverage(t *testing.T) {
	value := Allocation{ValueBytes: ValueBytes{Bytes: 100}}
	workspaces := Allocation{ValueBytes: ValueBytes{Bytes: 128}, Offset: 192, Workspace: true}
	for _, c := range []struct {
		name    string
		touched []int64 // bytes
		want    Coverage
	}{
		{"all", []int64{0, 99, 192, 319}, Coverage{TouchedBytes: 256, PlannedBytes: 128, HighWaterBytes: 320,
			ValueHighWaterBytes: 128, PlannedHighWaterBytes: 320}},
		{"a part of the workspace", []int64{0, 99, 192}, Coverage{TouchedBytes: 192, PlannedBytes: 128, HighWaterBytes: 256,
			ValueHighWaterBytes: 128, PlannedHighWaterBytes: 320}},
		{"not the value's end", []int64{0}, Coverage{TouchedBytes: 64, PlannedBytes: 128, UntouchedBytes: 64, HighWaterBytes: 64,
			ValueHighWaterBytes: 128, PlannedHighWaterBytes: 320}},
		{"the hole", []int64{0, 99, 130, 319}, Coverage{TouchedBytes: 256, PlannedBytes: 128, StrayBytes: 64, HighWaterBytes: 320,
			ValueHighWaterBytes: 128, PlannedHighWaterBytes: 320}},
	} {
		arena := bytes.Repeat([]byte{0xa5}, 320)
		for _, at := range c.touched {
			arena[at] = 1
		}
		got, err := Cover([]Allocation{value, workspaces}, 320, 0xa5, func(to []byte, offset int64) error {
			copy(to, arena[offset:])
			return nil
		})
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, error %v; want %+v", c.name, got, err, c.want)
		}
	}
}
