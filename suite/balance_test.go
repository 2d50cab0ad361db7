package suite

import (
	"math"
	"strings"
	"testing"

	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/results"
)

// balancedRequest asks for balanced cuts of a network of 10 units.
func balancedRequest(method string, modules int) Request {
	return Request{Methods: []string{method}, Networks: []string{"resnet20"}, Datasets: []string{"cifar10"}, Batches: []int64{256},
		Modules: []int{modules}, Settings: results.Settings{Cuts: "balanced"}}
}

func peakOf(t *testing.T, r Request) (int64, *Run, error) {
	t.Helper()
	runs, err := r.Build()
	if err != nil {
		return 0, nil, err
	}
	c, err := runs[0].CompileHere(Host{})
	if err != nil {
		return 0, nil, err
	}
	return *c.Memory.PlannedPeakBytes, runs[0], nil
}

// TestBalancedCutsAreTheBest plans all ways to cut resnet20 into three modules: none has a planned peak that is more than 2 %
// smaller. The peak also counts parameters, which the balance leaves out.
func TestBalancedCutsAreTheBest(t *testing.T) {
	for _, method := range []string{"dgl", "predsim", "infopro", "man", "auglocal"} {
		if testing.Short() && method != "dgl" && method != "auglocal" {
			continue
		}
		got, run, err := peakOf(t, balancedRequest(method, 3))
		if err != nil {
			t.Fatal(err)
		}
		if len(run.Stages) != 3 || !strings.Contains(run.Settings.Cuts, ",") || run.Spec.Options["cuts"] != run.Settings.Cuts {
			t.Fatalf("%s: got %d modules and the cuts %q, want 3 and two places in the spec",
				method, len(run.Stages), run.Settings.Cuts)
		}
		again, err := Build(run.Spec)
		if err != nil || again.ID() != run.ID() || len(again.Stages[0].Units) != len(run.Stages[0].Units) {
			t.Errorf("%s: the spec builds another run: %v", method, err)
		}
		least, best, tried := int64(math.MaxInt64), "", 0
		units := run.Network.Units
		for i := range units[:len(units)-2] {
			for j := i + 1; j < len(units)-1; j++ {
				r := balancedRequest(method, 3)
				r.Cuts = units[i].Place + "," + units[j].Place
				peak, _, err := peakOf(t, r)
				if err != nil { // AugLocal's last units belong to the head
					continue
				}
				if tried++; peak < least {
					least, best = peak, r.Cuts
				}
			}
		}
		if tried < 20 || float64(got) > 1.02*float64(least) {
			t.Errorf("%s: got a peak of %d bytes with the cuts %s, but %s has %d (of %d tried)",
				method, got, run.Settings.Cuts, best, least, tried)
		}
	}
}

// TestBalancedCutsDoNotDependOnTheBatch: runs of several batches have the same modules.
func TestBalancedCutsDoNotDependOnTheBatch(t *testing.T) {
	r := balancedRequest("dgl", 4)
	r.Batches = []int64{8, 512}
	runs, err := r.Build()
	if err != nil || len(runs) != 2 || runs[0].Settings.Cuts != runs[1].Settings.Cuts {
		t.Fatalf("got %v, %v, want two runs with the same cuts", runs, err)
	}
}

// TestBalancedCutsWherePublished: InfoPro's balanced cuts are kept, under their name.
func TestBalancedCutsWherePublished(t *testing.T) {
	r := balancedRequest("infopro", 4)
	r.Networks = []string{"resnet110"}
	runs, err := r.Build()
	if err != nil || runs[0].Spec.Options["cuts"] != "balanced" || len(runs[0].Stages[3].Units) != 27 {
		t.Fatalf("got %v, %v, want the published cuts", runs, err)
	}
}

// TestBalancedCutsOfAnExportedNetwork: places are module paths. Two of the nine units of resnet18 have maps of one pixel for
// images of 32 pixels; modules of all methods can end there.
func TestBalancedCutsOfAnExportedNetwork(t *testing.T) {
	for _, method := range []string{"dgl", "predsim", "infopro", "man", "auglocal"} {
		for _, modules := range []int{4, 8} {
			r := balancedRequest(method, modules)
			r.Networks, r.Datasets, r.ImageSize = []string{"networks/exported/testdata/resnet18.pt2"}, []string{"imagenet"}, 32
			_, run, err := peakOf(t, r)
			if err != nil || len(run.Stages) != modules || modules == 4 && !strings.Contains(run.Settings.Cuts, "layer") {
				t.Errorf("%s, %d modules: got %v", method, modules, err)
			}
		}
	}
}

// TestBalancedCutsWhereModulesCanEnd: the classifiers of AugLocal for VGG average whole rows, whose number must be a multiple of
// 2 or 4 where there are fewer than 512 channels; for images of 132 pixels the first three units have 66 and 33.
func TestBalancedCutsWhereModulesCanEnd(t *testing.T) {
	r := balancedRequest("auglocal", 5)
	r.Networks, r.Datasets, r.ImageSize, r.AuxDepths = []string{"vgg11"}, []string{"imagenet"}, 132, []int{1}
	r.Selection = string(methods.SelectionSequential)
	_, run, err := peakOf(t, r)
	if err != nil || run.Settings.Cuts != "3.1,4.0,4.1,5.0" {
		t.Errorf("5 modules: got %v, want cuts after the fourth unit to the seventh", err)
	}
	r.Modules = []int{6}
	const want = "--modules must be at most 5: auglocal can end a module after 4 of the 8 units"
	if _, err := r.Build(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("6 modules: got %v, want an error with the most", err)
	}
}

func TestBalancedCutsRefused(t *testing.T) {
	for _, c := range []struct {
		modules int
		want    string
	}{{0, "--cuts balanced: needs --modules"}, {11, "--modules must be 2 to 10, the number of units of resnet20"}} {
		if _, err := balancedRequest("dgl", c.modules).Build(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d modules: got %v, want %q", c.modules, err, c.want)
		}
	}
}

// TestBestDivision compares with all divisions of seven numbers.
func TestBestDivision(t *testing.T) {
	sizes := []int64{5, 1, 1, 9, 2, 2, 4}
	bytes := func(first, last int) (sum int64) {
		for _, s := range sizes[first : last+1] {
			sum += s
		}
		return sum
	}
	largest := func(all, one float64) float64 { return max(all, one) }
	cost, ends := bestDivision(len(sizes), 3, bytes, largest, math.Inf(1))
	least := math.Inf(1)
	for i := 0; i < len(sizes)-2; i++ {
		for j := i + 1; j < len(sizes)-1; j++ {
			least = min(least, float64(max(bytes(0, i), bytes(i+1, j), bytes(j+1, len(sizes)-1))))
		}
	}
	if cost != least || float64(max(bytes(0, ends[0]), bytes(ends[0]+1, ends[1]), bytes(ends[1]+1, len(sizes)-1))) != least {
		t.Errorf("got %g with the ends %v, want %g", cost, ends, least)
	}
}
