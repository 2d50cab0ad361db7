package suite_test

import (
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/plan"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/networks"
)

// compile plans one CIFAR-10 run on the cpu backend, kernels' scratch included.
func compile(t *testing.T, d engine.Device, network, method string, batch int64, depth int) *suite.Compiled {
	t.Helper()
	specs, err := suite.Request{Methods: []string{method}, Networks: []string{network}, Datasets: []string{"cifar10"},
		Batches: []int64{batch}, AuxDepths: []int{depth}}.Expand()
	if err != nil {
		t.Fatal(err)
	}
	c, err := suite.CompileOn(d, specs[0])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func openCPU(t *testing.T) engine.Device {
	t.Helper()
	d, err := engine.Open("cpu", engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// TestArenaIsNearTheLowerBound allows 2% above what no layout can go below.
func TestArenaIsNearTheLowerBound(t *testing.T) {
	d := openCPU(t)
	for _, network := range []string{"resnet20", "resnet32", "resnet56", "resnet110"} {
		if testing.Short() && network != "resnet20" {
			continue
		}
		for _, method := range []string{"bp", "auglocal"} {
			for _, batch := range []int64{32, 128, 1024} {
				p := compile(t, d, network, method, batch, 2).Profile
				if over := float64(p.ArenaBytes)/float64(p.LowerBoundBytes) - 1; over > 0.02 {
					t.Errorf("%s %s batch %d: arena %d is %.1f%% above the bound %d", network, method, batch, p.ArenaBytes, 100*over,
						p.LowerBoundBytes)
				}
				if p.PlannedPeakBytes > p.LowerBoundBytes || p.PlannedPeakBytes != p.ByCategory.Total() {
					t.Errorf("%s %s batch %d: planned peak %d, bound %d, categories %d", network, method, batch, p.PlannedPeakBytes,
						p.LowerBoundBytes, p.ByCategory.Total())
				}
			}
		}
	}
}

// TestAugLocalPeak is the claim of the method, from the plan alone: on
// ResNet-110, batch 1024, depth 2, at most 12% of back-propagation's peak. What
// bp must save is counted by hand: 1.074e9 elements of convolution outputs and
// about as many of rectified outputs.
func TestAugLocalPeak(t *testing.T) {
	d := openCPU(t)
	bp := compile(t, d, "resnet110", "bp", 1024, 2).Profile.PlannedPeakBytes
	local := compile(t, d, "resnet110", "auglocal", 1024, 2).Profile.PlannedPeakBytes
	if share := float64(local) / float64(bp); share > 0.12 {
		t.Errorf("auglocal's planned peak is %.3f of bp's, want at most 0.12", share)
	}
	if low, high := 2*1.07e9*4, 2*1.074e9*4*1.05; float64(bp) < low || float64(bp) > high {
		t.Errorf("bp's planned peak is %d, want %.4g to %.4g", bp, low, high)
	}
}

// TestExpand crosses lists and leaves out what a method does not have.
func TestExpand(t *testing.T) {
	specs, err := suite.Request{Methods: []string{"bp", "auglocal"}, AuxDepths: []int{2, 3}, Seeds: []uint64{1, 2}}.Expand()
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	ids := map[string]bool{}
	for _, s := range specs {
		count[s.Method]++
		ids[results.SpecID(s)] = true
		if s.Method == "bp" && (s.AuxDepth != 0 || s.Pyramid) {
			t.Errorf("bp has auxiliary depth %d", s.AuxDepth)
		}
	}
	if count["bp"] != 2 || count["auglocal"] != 4 || len(ids) != 6 {
		t.Errorf("%v runs, %d ids; want 2 of bp (seeds), 4 of auglocal (seeds and depths)", count, len(ids))
	}
}

// TestEveryByteHasACategory: for every network under every method, what lies in the
// arena at an op sums to the timeline, category by category; the arena is within
// 2 % of the lower bound; and the peak by module and by scope sums to the peak.
func TestEveryByteHasACategory(t *testing.T) {
	var names []string
	for _, m := range methods.List() {
		names = append(names, m.Name)
	}
	var all []string
	for _, n := range networks.List() {
		all = append(all, n.Name)
	}
	if testing.Short() { // one of each kind of block
		all = []string{"resnet20", "resnet18", "mobilenetv2"}
	}
	for _, recompute := range []string{suite.RecomputeNone, suite.RecomputeNorm} {
		specs, err := suite.Request{Methods: names, Networks: all, Batches: []int64{256}, Recompute: recompute}.Expand()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range specs {
			c, err := suite.Compile(s)
			if err != nil {
				t.Fatal(err)
			}
			p := c.Profile
			alive := make([]plan.Sample, len(p.Timeline)+1)
			for _, a := range c.Allocations {
				alive[a.From][a.Category] += a.Bytes
				alive[a.To+1][a.Category] -= a.Bytes
			}
			var now plan.Sample
			for op, want := range p.Timeline {
				for category, bytes := range alive[op] {
					now[category] += bytes
				}
				if now != want || now.Total() > p.PlannedPeakBytes {
					t.Fatalf("%s: op %d: %v alive in the arena, %v in the timeline", results.SpecID(s), op, now, want)
				}
			}
			if ratio := float64(p.ArenaBytes) / float64(p.LowerBoundBytes); ratio > 1.02 {
				t.Errorf("%s: the arena is %.4f times the lower bound", results.SpecID(s), ratio)
			}
			var modules, scopes int64
			for _, m := range p.ByModule {
				modules += m.Bytes
			}
			for _, x := range p.ByScope {
				scopes += x.Bytes
			}
			if modules != p.PlannedPeakBytes || scopes != p.PlannedPeakBytes || p.ByCategory.Total() != p.PlannedPeakBytes {
				t.Errorf("%s: the peak is %d, by module %d, by scope %d, by category %d", results.SpecID(s), p.PlannedPeakBytes, modules,
					scopes, p.ByCategory.Total())
			}
		}
	}
}

// planned plans a CIFAR-10 run at batch 128 in the given precision, without workspaces.
func planned(t *testing.T, network, method, precision string) *suite.Compiled {
	t.Helper()
	d, err := engine.Open("null", engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	specs, err := suite.Request{Methods: []string{method}, Networks: []string{network}, Datasets: []string{"cifar10"},
		Batches: []int64{128}, Precision: precision, Backend: "cuda"}.Expand()
	if err != nil {
		t.Fatal(err)
	}
	c, err := suite.CompileOn(d, specs[0])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestMixedMemory: in bf16 the saved activations of bp take half the bytes,
// but for what stays f32, counted by hand: mean and variance of the 33 normalisations of
// ResNet-32 (11 of 16 channels, 11 of 32 and 11 of 64, projections included) and the
// probabilities of 128 samples. What lives from step to step keeps its bytes.
func TestMixedMemory(t *testing.T) {
	const vectors, probabilities = 2 * 4 * 11 * (16 + 32 + 64), 4 * 128 * 10
	full, half := planned(t, "resnet32", "bp", "f32"), planned(t, "resnet32", "bp", "bf16")
	saved := func(c *suite.Compiled) (sum int64) {
		for _, v := range c.Step.Graph.Values {
			if v.Category == graph.CategorySaved {
				sum += v.Bytes()
			}
		}
		return sum - vectors - probabilities
	}
	if f, h := saved(full), saved(half); f != 2*h || h <= 0 {
		t.Errorf("saved activations of %d bytes in bf16, want half of %d", h, f)
	}
	for c := graph.CategoryParameter; c.Persistent(); c++ {
		if f, h := full.Profile.ByCategory[c], half.Profile.ByCategory[c]; f != h || c != graph.CategoryAuxiliaryParameter && f == 0 {
			t.Errorf("%s: %d bytes in bf16, want the %d of f32", c, h, f)
		}
	}
	if half.Memory.EagerAllocatedBytes != nil || full.Memory.EagerAllocatedBytes == nil {
		t.Error("the eager model speaks of bf16 or is silent on f32, want the contrary")
	}
	if f, h := full.Model, half.Model; *f.Parameters != *h.Parameters || *f.FLOPsPerSample.Step != *h.FLOPsPerSample.Step {
		t.Errorf("%d parameters and %d FLOPs in bf16, want %d and %d", *h.Parameters, *h.FLOPsPerSample.Step, *f.Parameters,
			*f.FLOPsPerSample.Step)
	}
}

// TestMixedOfEveryMethod: less memory than in f32, and modules as isolated.
func TestMixedOfEveryMethod(t *testing.T) {
	for _, m := range methods.List() {
		full, half := planned(t, "resnet20", m.Name, "f32"), planned(t, "resnet20", m.Name, "bf16")
		if f, h := *full.Memory.PlannedPeakBytes, *half.Memory.PlannedPeakBytes; h >= f || 2*h <= f {
			t.Errorf("%s: planned peak of %d bytes in bf16, want less than the %d of f32 and more than half", m.Name, h, f)
		}
		for _, found := range half.Findings() {
			t.Errorf("%s: %s", m.Name, found.What)
		}
	}
}

// TestTF32ReachesTheDevice: the cpu backend is asked for it, and says that it has none.
func TestTF32ReachesTheDevice(t *testing.T) {
	_, err := (&suite.Run{Spec: results.Spec{Backend: "cpu", Precision: suite.PrecisionTF32}}).OpenDevice(suite.Host{})
	if err == nil || !strings.Contains(err.Error(), "the cpu backend has no tf32") {
		t.Errorf("got %v, want tf32 to be refused by the device", err)
	}
}

// TestPrecisionOfBackends is a pair that is refused, or not, a row.
func TestPrecisionOfBackends(t *testing.T) {
	for _, c := range []struct{ backend, precision, want string }{
		{"auto", "f32", ""}, {"cuda", "f32", ""}, {"cuda", "bf16", ""}, {"cuda", "tf32", ""}, {"reference", "bf16", ""},
		{"auto", "bf16", ""}, {"cpu", "bf16", ""},
		{"auto", "tf32", `--precision "tf32": must be f32 or bf16 with --backend auto; tf32 is for backend cuda`},
		{"cpu", "tf32", `--precision "tf32": must be f32 or bf16 with --backend cpu; tf32 is for backend cuda`},
		{"reference", "tf32", `--precision "tf32": must be f32 or bf16 with --backend reference; tf32 is for backend cuda`},
		{"cuda", "fp16", `--precision "fp16": must be f32 or bf16 or tf32 with --backend cuda`},
	} {
		specs, err := suite.Request{Precision: c.precision, Backend: c.backend}.Expand()
		if c.want == "" && (err != nil || specs[0].Precision != c.precision) {
			t.Errorf("%s on %s: %v", c.precision, c.backend, err)
		}
		if c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%s on %s: got %v, want %q", c.precision, c.backend, err, c.want)
		}
	}
}

// TestLimits: more than a set of files has is all of it; more than a made set can be is an error.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		set         string
		limit, want int64
	}{{"cifar10", 49_999, 49_999}, {"cifar10", 60_000, 0}, {"synthetic", 100, 100}, {"synthetic", 1 << 40, -1}} {
		specs, err := suite.Request{Methods: []string{"bp"}, Networks: []string{"resnet20"}, Datasets: []string{c.set},
			TrainLimit: int(c.limit), TestLimit: 7, Batches: []int64{4}}.Expand()
		if failed := err != nil; failed != (c.want < 0) || !failed && (specs[0].TrainLimit != c.want || specs[0].TestLimit != 7) {
			t.Errorf("%s, limit %d: got %+v, %v, want %d", c.set, c.limit, specs, err, c.want)
		}
	}
}
