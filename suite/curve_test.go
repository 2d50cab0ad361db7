package suite

import (
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/results"
)

// plannedAlone builds one run and opens a device that plans it without kernels' workspaces.
func plannedAlone(t *testing.T, request Request) (*Run, engine.Device) {
	t.Helper()
	runs, err := request.Build()
	if err != nil {
		t.Fatal(err)
	}
	run := runs[0].with(func(s *results.Spec) { s.Backend = BackendNull })
	d, err := run.OpenDevice(Host{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return run, d
}

// Every point of a curve is what a run with that budget plans, no point beats another one in everything, and the last
// budget is the smallest one that the search reaches: one byte less is an error.
func TestCurveIsThePlansOfItsBudgets(t *testing.T) {
	for _, method := range []string{"bp", "dgl"} {
		run, d := plannedAlone(t, Request{Methods: []string{method},
			Networks: []string{"resnet20"}, Datasets: []string{"cifar10"}, Batches: []int64{16}})
		c, err := run.Curve(d, 5, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Points) < 2 || c.Points[0].BudgetBytes != 0 || c.Points[0].Recomputed != 0 {
			t.Fatalf("%s: %d points, the first %+v: want one without a budget, and others", method, len(c.Points), c.Points[0])
		}
		for i, p := range c.Points {
			settings := run.Settings
			settings.Budget = p.BudgetBytes
			other, err := run.WithSettings(settings)
			if err != nil {
				t.Fatal(err)
			}
			planned, err := other.Compile(d, JobOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if arena := *planned.Memory.ArenaBytes; arena != p.ArenaBytes || i > 0 && arena > p.BudgetBytes {
				t.Errorf("%s: budget %d: arena %d on the curve, %d of the plan", method, p.BudgetBytes, p.ArenaBytes, arena)
			}
			if flops := *planned.Model.FLOPsPerSample.Step; flops != p.FLOPsPerSample {
				t.Errorf("%s: budget %d: %d FLOPs on the curve, %d of the plan", method, p.BudgetBytes, p.FLOPsPerSample, flops)
			}
			if i > 1 && p.StepArenaBytes >= c.Points[i-1].StepArenaBytes && p.StepBytes >= c.Points[i-1].StepBytes &&
				p.FLOPsPerSample >= c.Points[i-1].FLOPsPerSample {
				t.Errorf("%s: point %d has nothing that point %d has not", method, i, i-1)
			}
		}
		least, err := run.leastArena(d)
		if err != nil {
			t.Fatal(err)
		}
		smallest := c.Points[0].ArenaBytes
		for _, p := range c.Points {
			smallest = min(smallest, p.ArenaBytes)
		}
		if smallest > least {
			t.Errorf("%s: the smallest arena of the curve has %d bytes, the search reaches %d", method, smallest, least)
		}
	}
}

// TestCurveBoundByHand counts the bytes of a step of ResNet-20, batch 16, by hand, with --fuse-norm input, and with --store int8
// too. A tensor of 32x32 with 16 channels is the unit a; those of the second and third group are a half and a quarter.
func TestCurveBoundByHand(t *testing.T) {
	const a = 16 * 32 * 32 * 16 * 4
	const images = 16 * 32 * 32 * 3 * 4
	// 272,474 parameters and their momenta, of which the bias of the last layer, 40 bytes, takes 64; running statistics; the
	// learning rate, and loss and count, take 64 bytes each.
	const always = 2*(4*272474+24) + 6272 + 3*64
	const vectors = 2 * 16 * 4 // mean and variance of a normalisation of 16 channels
	for _, c := range []struct {
		settings results.Settings
		bound    int64
	}{
		// At the gradient of the input of the last block's second convolution: of the stem two tensors, of each block the results of
		// both convolutions and its own, of the second and third group the shortcut's too, less the last two of the third group;
		// mean and variance of all normalisations but the last; the incoming gradients of the convolution and of the shortcut, the
		// one computed, and that of the weight.
		{results.Settings{FuseNorm: "input"}, always + 11*a + 10*a/2 + 8*a/4 + images + 7*vectors + 7*2*vectors + 6*4*vectors +
			3*a/4 + 64*64*9*4},
		// Where the third block's second result is expanded: nine tensors of the first group, as above without the last block's
		// result and the second convolution's, and the images are in int8, with 8 bytes of ranges for 256 elements; the masks of
		// the stem and of two activations of each block take a bit an element; two gradients that the shortcut's convolution and the
		// main path have left, and the expanded result and mask.
		{results.Settings{FuseNorm: "input", Store: "int8"}, always + (9*a+images)/4 + (9*a+images)/128 + 7*a/32 + 7*vectors +
			2*a + 2*a},
	} {
		run, d := plannedAlone(t, Request{Methods: []string{"bp"}, Networks: []string{"resnet20"}, Datasets: []string{"cifar10"},
			Batches: []int64{16}, Settings: c.settings})
		p, err := run.curvePoint(d, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if p.LowerBoundBytes != c.bound {
			t.Errorf("%+v: a lower bound of %d bytes, want %d", c.settings, p.LowerBoundBytes, c.bound)
		}
	}
}

// MODeL (Steiner et al., ICML 2023) finds the order and the places of tensors with an integer program. For MobileNetV2 at 224
// pixels its plans, without optimizer state, have the sizes below. Ours, which fuse ops and reuse storage, are smaller.
func TestPlansAreBelowMODeLs(t *testing.T) {
	for batch, model := range map[int64]int64{32: 1_759_212_960, 64: 3_504_133_536, 128: 6_993_974_688} {
		run, d := plannedAlone(t, Request{Methods: []string{"bp"},
			Networks: []string{"mobilenetv2"}, Datasets: []string{"imagenet"}, Batches: []int64{batch}})
		c, err := run.Compile(d, JobOptions{})
		if err != nil {
			t.Fatal(err)
		}
		own := *c.Memory.StepArenaBytes - c.Memory.ByCategory["optimizer state"]
		if own > model || own < model*98/100 {
			t.Errorf("batch %d: %d bytes without optimizer state, want at most 2 %% below MODeL's %d", batch, own, model)
		}
	}
}
