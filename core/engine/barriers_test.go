package engine_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/optest"
	"github.com/localbench/localbench/core/plan"
	"github.com/localbench/localbench/core/reference"
)

// The devices of the emulator that run blocks, warps and threads in another order than the first does: the last first, and
// in a random order with three seeds.
const firstShuffled, lastShuffled = 8, 11

// mostInShort is the number of elements of a case that -short still runs in another order.
const mostInShort = 1 << 18

// ownKernels has every kernel of the CUDA backend run that is not a library's.
var ownKernels = engine.Options{TF32: true, Own: true}

// trial is a case with its contents and the reference's results, computed once for all devices.
type trial struct {
	optest.Case
	graph   *graph.Graph
	values  map[*graph.Value][]float64
	want    map[*graph.Value][]float64
	compute func() error
	inParts bool // computed in parts of the batch
}

func newTrial(c optest.Case) (*trial, error) {
	g, err := c.Graph()
	if err != nil {
		return nil, err
	}
	t := &trial{Case: c, graph: g, values: c.Values(g, 1), want: map[*graph.Value][]float64{}}
	t.compute = sync.OnceValue(func() error {
		m := reference.New(g)
		for v, content := range t.values {
			m.Set(v, content)
		}
		if err := m.Run(0, len(g.Ops)); err != nil {
			return err
		}
		for _, v := range optest.Written(c.Op(g)) {
			t.want[v] = slices.Clone(m.Get(v))
		}
		return nil
	})
	return t, nil
}

// size is the number of elements of the case.
func (c *trial) size() (n int64) {
	for _, v := range c.graph.Values {
		n += v.Shape.Elements()
	}
	return n
}

// on runs the case on a device, and returns what differs from the reference by more than the op's tolerance.
func (c *trial) on(t testing.TB, d engine.Device) error {
	t.Helper()
	return c.run(t, d, func(p engine.Program) error { return c.compare(t, p) })
}

// run runs the case on a device and then, unless it is nil, check.
func (c *trial) run(t testing.TB, d engine.Device, check func(engine.Program) error) error {
	t.Helper()
	p, err := d.Prepare(c.graph)
	if err != nil {
		return err
	}
	defer p.Close()
	layout, err := plan.New(c.graph, p.Scratch(), plan.Options{})
	if err != nil {
		return err
	}
	arena, err := d.NewArena(layout.ArenaBytes())
	if err != nil {
		return err
	}
	defer arena.Close()
	if err := p.Bind(arena, layout.Offset, layout.WorkspaceOffset); err != nil {
		return err
	}
	for v, content := range c.values {
		write(t, p, v, content)
	}
	if err := p.Run(0, len(c.graph.Ops)); err != nil || check == nil {
		return err
	}
	return check(p)
}

// compare compares what the case has written with the reference.
func (c *trial) compare(t testing.TB, p engine.Program) error {
	t.Helper()
	if err := c.compute(); err != nil {
		return err
	}
	op := c.Op(c.graph)
	for _, v := range optest.Written(op) {
		tolerance := optest.Tolerance(op, v)
		if op.FLOPs() > 0 {
			tolerance = max(tolerance, 8*tf32Roundoff)
		}
		if c.inParts && op.Kind == graph.KindConvBackwardWeights && v.Type == graph.TypeBF16 {
			tolerance += 1.0 / (1 << 8) // the gradients of the parts are rounded, too: half the distance of two neighbours
		}
		if err := optest.Compare(read(t, p, v), c.want[v], tolerance); err != nil {
			return fmt.Errorf("%s: %w", v.Name, err)
		}
	}
	return nil
}

// trials returns the cases of the op table and the large ones that reach a barrier on the emulator, by barrier: file and line.
func trials(t *testing.T) (all []*trial, byBarrier map[string][]*trial) {
	t.Helper()
	t.Setenv("LB_EMU_LIST_BARRIERS", "1")
	d := enginetest.Open(t, "emu", ownKernels)
	byBarrier = map[string][]*trial{}
	d.Facts() // the barriers that opening reached
	for _, c := range slices.Concat(optest.Cases(), optest.LargeCases()) {
		r, err := newTrial(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.run(t, d, nil); err != nil {
			t.Fatalf("%s: %v", c, err)
		}
		names := strings.Fields(d.Facts()["barriers"])
		for _, name := range names {
			byBarrier[name] = append(byBarrier[name], r)
		}
		if len(names) > 0 {
			all = append(all, r)
		}
	}
	for _, list := range byBarrier { // the quick ones first
		slices.SortStableFunc(list, func(a, b *trial) int { return cmp.Compare(a.size(), b.size()) })
	}
	return all, byBarrier
}

// barriersOf lists the calls of __syncthreads in the sources of the CUDA backend, as file:line.
func barriersOf(t *testing.T) (list []string) {
	t.Helper()
	files, err := filepath.Glob("cuda/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("cuda/*: %d files, %v", len(files), err)
	}
	call := regexp.MustCompile(`^[^/]*\b__syncthreads\(\)`)
	for _, path := range files {
		name := filepath.Base(path)
		if name == "emu.h" {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if call.MatchString(line) {
				list = append(list, fmt.Sprintf("%s:%d", name, i+1))
			}
		}
	}
	return list
}

// TestBarriers runs all cases whose kernels have barriers on the emulated devices whose blocks, warps and threads run in another
// order, and compares the results with the reference. Then it removes every barrier of the sources in turn: at least one
// case must fail on one of these devices. A barrier that no case reaches, or whose absence no case notices, is an
// error: add a case to optest.Cases or optest.LargeCases that does, or remove the barrier. With -short only one order is tried,
// without the large cases; barriers are removed all the same.
func TestBarriers(t *testing.T) {
	enginetest.NeedsCPU(t)
	all, byBarrier := trials(t)
	devices := []engine.Device{}
	for i := firstShuffled; i <= lastShuffled; i++ {
		o := ownKernels
		o.Device = i
		devices = append(devices, enginetest.Open(t, "emu", o))
	}
	for i, d := range devices {
		if testing.Short() && i != 1 {
			continue
		}
		t.Run(fmt.Sprintf("device %d", firstShuffled+i), func(t *testing.T) {
			for _, c := range all {
				if testing.Short() && c.size() > mostInShort {
					continue
				}
				if err := c.on(t, d); err != nil {
					t.Errorf("%s: %v", c, err)
				}
			}
		})
	}
	for _, barrier := range barriersOf(t) {
		t.Run("without "+barrier, func(t *testing.T) {
			cases := byBarrier[barrier]
			if len(cases) == 0 {
				t.Fatal("no case reaches this barrier")
			}
			t.Setenv("LB_EMU_WITHOUT_BARRIER", barrier)
			for _, d := range devices {
				for _, c := range cases {
					if c.on(t, d) != nil {
						return
					}
				}
			}
			t.Errorf("%d cases reach this barrier, and none fails without it", len(cases))
		})
	}
}

// TestBankConflicts runs the kernels that keep their sums in arrays in shared memory: in each access to them the threads of a
// warp use different banks. The emulator counts.
func TestBankConflicts(t *testing.T) {
	enginetest.NeedsCPU(t)
	t.Setenv("LB_EMU_COUNT_CONFLICTS", "1")
	d := enginetest.Open(t, "emu", engine.Options{})
	counted := 0
	for _, c := range optest.Cases() {
		if !slices.Contains([]graph.Kind{graph.KindNormStats, graph.KindNormBackward, graph.KindNormBackwardSums,
			graph.KindGateBackward, graph.KindSimilarity},
			c.Kind) {
			continue
		}
		r, err := newTrial(c)
		if err != nil {
			t.Fatal(err)
		}
		d.Facts() // sets the count to 0
		if err := r.run(t, d, nil); err != nil {
			t.Fatal(err)
		}
		if got := d.Facts()["bank_conflicts"]; got != "0" {
			t.Errorf("%s: %s bank conflicts, want 0", c, got)
		}
		counted++
	}
	if counted == 0 {
		t.Error("no case was counted")
	}
}
