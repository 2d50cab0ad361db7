package methods_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
)

// step builds the training step of a CIFAR network under a method.
func step(t *testing.T, network, method string, o methods.Options) *core.Step {
	t.Helper()
	n, err := networks.New(network, graph.Shape{32, 32, 3}, 10)
	if err != nil {
		t.Fatal(err)
	}
	m, err := methods.Find(method)
	if err != nil {
		t.Fatal(err)
	}
	stages, err := m.Stages(n, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := core.TrainingStep(stages, core.StepOptions{
		Batch: 4, Image: n.Input, Dropout: true, Mean: [4]float64{125.3, 123.0, 113.9}, Deviation: [4]float64{63.0, 62.1, 66.7},
		Optimizer: graph.SGDOptions{Momentum: 0.9, WeightDecay: 1e-4, Nesterov: true}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAuxiliaryBlocksDrop: where AugLocal repeats the module's own unit, EfficientNet's blocks have a
// residual sum, and stochastic depth at the rate of that unit: block i of 16 has 0.2 i / 16. Module m ends at
// unit m, which is block m-1. The heads of auxiliary networks drop nothing.
func TestAuxiliaryBlocksDrop(t *testing.T) {
	s := step(t, "efficientnetb0", "auglocal", methods.Options{AuxDepth: 1, Selection: methods.SelectionRepetitive})
	drops := map[int]int{} // auxiliary networks, by module
	for _, op := range s.Graph.Ops {
		if op.Kind != graph.KindDropout || op.Phase != graph.PhaseAuxiliary {
			continue
		}
		drops[op.Module]++
		want := 0.2 * float64(op.Module-1) / 16
		if !op.Attr.Rows || math.Abs(op.Attr.Rate-want) > 1e-12 {
			t.Errorf("%s: samples %v at %g, want samples at %g", op.Scope, op.Attr.Rows, op.Attr.Rate, want)
		}
	}
	for m := range 15 {
		want := 1
		if m < 2 { // the stem, and the first block
			want = 0
		}
		if drops[m] != want {
			t.Errorf("the auxiliary network of module %d drops %d times, want %d", m, drops[m], want)
		}
	}
}

func trained(s *core.Step) (n int64) {
	for _, v := range s.Graph.Values {
		if v.Category == graph.CategoryParameter || v.Category == graph.CategoryAuxiliaryParameter {
			n += v.Shape.Elements()
		}
	}
	return n
}

// TestParameterCounts compares the networks and auxiliary networks with the
// counts of the authors' programs, all parameters included.
func TestParameterCounts(t *testing.T) {
	for _, c := range []struct {
		method string
		depth  int
		want   int64
	}{
		{"bp", 0, 466_906},
		{"auglocal", 2, 1_807_964},
		{"auglocal", 3, 1_978_514},
		{"auglocal", 5, 2_151_294},
		{"checkpoint", 0, 466_906},
		{"dgl", 0, 1_305_200},
		{"infopro", 0, 916_021},
		{"predsim", 0, 751_216},
		{"man", 0, 1_423_413},
	} {
		s := step(t, "resnet32", c.method, methods.Options{AuxDepth: c.depth})
		if got := trained(s); got != c.want {
			t.Errorf("%s, depth %d: %d parameters, want %d", c.method, c.depth, got, c.want)
		}
	}
}

// TestEveryParameterIsUpdatedOnce counts the updates of each parameter: none
// may be forgotten, none done twice.
func TestEveryParameterIsUpdatedOnce(t *testing.T) {
	for _, network := range []string{"resnet20", "resnet18", "resnet50", "vgg11", "mobilenetv2", "efficientnetb0", "regnetx400mf"} {
		for _, m := range methods.List() {
			s := step(t, network, m.Name, methods.Options{})
			updates := map[*graph.Value]int{}
			for _, op := range s.Graph.Ops {
				if op.Kind.Updates() {
					updates[op.Operands[0]]++
				}
			}
			for _, v := range s.Graph.Values {
				if (v.Category == graph.CategoryParameter || v.Category == graph.CategoryAuxiliaryParameter) && updates[v] != 1 {
					t.Errorf("%s on %s: %s is updated %d times, want 1", m.Name, network, v.Name, updates[v])
				}
			}
		}
	}
}

// TestAugLocalDepths compares the pyramid with the depth lists derived from the
// published program (depth:count, in order of the modules).
func TestAugLocalDepths(t *testing.T) {
	for _, c := range []struct {
		network string
		d       int
		want    []int // depth, count, depth, count, ...
	}{
		{"resnet32", 2, []int{2, 13}},
		{"resnet32", 3, []int{3, 6, 2, 6}},
		{"resnet32", 4, []int{4, 4, 3, 6, 2, 1}},
		{"resnet32", 5, []int{5, 3, 4, 4, 3, 3}},
		{"resnet32", 6, []int{6, 2, 5, 3, 4, 4}},
		{"resnet110", 3, []int{3, 25, 2, 26}},
		{"resnet110", 6, []int{6, 10, 5, 19, 4, 19}},
		{"resnet110", 9, []int{9, 6, 8, 11, 7, 11, 6, 11, 5, 6}},
	} {
		n, err := networks.New(c.network, graph.Shape{32, 32, 3}, 10)
		if err != nil {
			t.Fatal(err)
		}
		m, _ := methods.Find("auglocal")
		stages, err := m.Stages(n, methods.Options{AuxDepth: c.d})
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, s := range stages[:len(stages)-1] {
			if k := len(got); k > 0 && got[k-2] == s.AuxDepth {
				got[k-1]++
			} else {
				got = append(got, s.AuxDepth, 1)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s d=%d: depths %v, want %v", c.network, c.d, got, c.want)
		}
	}
}

// TestOptionsOutOfRange expects an error of one line that names the option, its value and
// the range.
func TestOptionsOutOfRange(t *testing.T) {
	n, err := networks.New("resnet32", graph.Shape{32, 32, 3}, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		o    methods.Options
		want string
	}{
		{"depth beyond the network", methods.Options{AuxDepth: 16}, "--aux-depths 16: must be 1 to 15"},
		{"depth beyond the modules", methods.Options{AuxDepth: 4, Modules: 4}, "--aux-depths 4: must be less than the 4 modules"},
		{"negative depth", methods.Options{AuxDepth: -1}, "--aux-depths -1: must be"},
		{"more modules than units", methods.Options{Modules: 17}, "--modules 17: must be 1 to 16"},
		{"negative modules", methods.Options{Modules: -3}, "--modules -3: must be"},
		{"pyramid above one", methods.Options{PyramidCoefficient: 1.5}, "--pyramid-coefficient 1.5: must be"},
		{"unknown selection", methods.Options{Selection: "random"}, `--selection "random": must be uniform, sequential or repetitive`},
		{"unknown mode", methods.Options{Mode: "relu"}, `--infopro-mode "relu": must be softmax or contrast`},
		{"three coefficients", methods.Options{Coefficients: "1,2,3"}, `--infopro-coefficients "1,2,3": must be four numbers`},
		{"negative coefficient", methods.Options{Coefficients: "1,2,3,-1"}, "must be four numbers"},
		{"a place that does not exist", methods.Options{Cuts: "1.0,3.9"},
			`--cuts "3.9": must be published, balanced, even, first, or places where units of resnet32 end, ` +
				"such as 3.0, 3.1, 3.2, 3.3 (the nearest ones)"},
		{"places out of order", methods.Options{Cuts: "2.0,1.0"}, "1.0 is out of order"},
		{"the last unit", methods.Options{Cuts: "3.4"}, "3.4 is out of order"},
		{"places and another K", methods.Options{Cuts: "1.0", Modules: 5}, "1 places can't be combined with --modules 5"},
		{"a balanced cut that is not published", methods.Options{Cuts: "balanced", Modules: 4}, "no memory-balanced cut"},
		{"a segment beyond the network", methods.Options{Segment: 17}, "--segment 17: must be 1 to 16"},
	} {
		method := "auglocal"
		if c.o.Mode != "" || c.o.Coefficients != "" || c.o.Cuts != "" {
			method = "infopro"
		}
		if c.o.Segment != 0 {
			method = "checkpoint"
		}
		m, err := methods.Find(method)
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Stages(n, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", c.name, err, c.want)
		}
	}
	if _, err := methods.Find("bq"); err == nil || !strings.Contains(err.Error(), "auglocal") {
		t.Errorf("an unknown method: got %v, want the known ones listed", err)
	}
}

// TestCuts compares the cuts with the published lists, as unit numbers worked out
// by hand: unit 0 is the stem, block b of stage s is unit 1 + blocks*(s-1) + b.
func TestCuts(t *testing.T) {
	for _, c := range []struct {
		network string
		o       methods.Options
		want    []int // units of each module
	}{
		{"resnet32", methods.Options{Modules: 2}, []int{8, 8}},
		{"resnet32", methods.Options{Modules: 4}, []int{4, 4, 4, 4}},
		{"resnet32", methods.Options{Modules: 8}, []int{2, 2, 2, 2, 2, 2, 2, 2}},
		{"resnet32", methods.Options{Modules: 1}, []int{16}},
		{"resnet32", methods.Options{Modules: 5}, []int{3, 3, 4, 3, 3}}, // none is published: even
		{"resnet110", methods.Options{Modules: 4}, []int{13, 14, 14, 14}},
		{"resnet110", methods.Options{Modules: 4, Cuts: "balanced"}, []int{8, 8, 12, 27}},
		{"resnet110", methods.Options{Modules: 4, Cuts: "even"}, []int{14, 14, 13, 14}},
		{"resnet20", methods.Options{Cuts: "layer1.0,layer2.2"}, []int{2, 5, 3}}, // names of units
		{"resnet20", methods.Options{Cuts: "layer1,layer2"}, []int{4, 3, 3}},     // modules that contain units
		{"resnet20", methods.Options{Cuts: "1.0,2.2"}, []int{2, 5, 3}},
	} {
		n, err := networks.New(c.network, graph.Shape{32, 32, 3}, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"dgl", "predsim", "infopro"} {
			m, _ := methods.Find(name)
			stages, err := m.Stages(n, c.o)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var got []int
			for _, s := range stages {
				got = append(got, len(s.Units))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s on %s with %+v: units %v, want %v", name, c.network, c.o, got, c.want)
			}
		}
	}
}

// TestInfoProCoefficients: the weights go linearly from the first module to the
// last auxiliary one.
func TestInfoProCoefficients(t *testing.T) {
	for _, c := range []struct {
		network string
		o       methods.Options
		want    [][2]float64
	}{
		{"resnet32", methods.Options{Modules: 4, Mode: methods.ModeContrast, Dataset: "cifar10"},
			[][2]float64{{6, 0}, {3.5, 1}, {1, 2}}},
		{"resnet110", methods.Options{Modules: 2, Mode: methods.ModeContrast, Dataset: "stl10"}, [][2]float64{{10, 1}}},
		{"resnet110", methods.Options{Modules: 4, Mode: methods.ModeContrast, Dataset: "svhn"},
			[][2]float64{{5, 0}, {2.75, 0.5}, {0.5, 1}}},
		{"resnet20", methods.Options{Modules: 3, Coefficients: "1,2,3,4"}, [][2]float64{{1, 2}, {3, 4}}},
		{"resnet20", methods.Options{Modules: 3, Coefficients: "cifar10-resnet32-contrast-4"}, [][2]float64{{6, 0}, {1, 2}}},
	} {
		s := step(t, c.network, "infopro", c.o)
		var got [][2]float64
		for _, l := range s.Losses {
			switch l.Name {
			case "reconstruction":
				got = append(got, [2]float64{l.Weight})
			case "classification":
				if !l.Classifier {
					got[len(got)-1][1] = l.Weight
				}
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s with %+v: weights %v, want %v", c.network, c.o, got, c.want)
		}
	}
	for _, c := range []struct {
		o       methods.Options
		network string
		k       int
		want    string
	}{
		{methods.Options{Dataset: "synthetic"}, "resnet110", 55, "cifar10-resnet110-softmax-55"},
		{methods.Options{Dataset: "cifar10", Mode: methods.ModeContrast}, "resnet110", 3, "cifar10-resnet110-contrast-4"},
		{methods.Options{Dataset: "cifar10", Mode: methods.ModeContrast, Cuts: "balanced"}, "resnet110", 3,
			"cifar10-resnet110-contrast-3-balanced"},
		{methods.Options{Dataset: "stl10", Mode: methods.ModeContrast, Cuts: "balanced"}, "resnet110", 2,
			"stl10-resnet110-contrast-2-balanced"},
		{methods.Options{Dataset: "imagenet"}, "resnet101", 4, "imagenet-resnet101-softmax-2-balanced"},
	} {
		if name, err := c.o.CoefficientsName(c.network, c.k); err != nil || name != c.want {
			t.Errorf("%s with %+v: got %q, %v, want %s", c.network, c.o, name, err, c.want)
		}
	}
}
