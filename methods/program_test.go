package methods_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
)

// stagesFor cuts a network for square images under a method.
func stagesFor(t *testing.T, network, method string, side, classes int64, o methods.Options) []model.Stage {
	t.Helper()
	n, err := networks.New(network, graph.Shape{side, side, 3}, classes)
	if err != nil {
		t.Fatal(err)
	}
	m, err := methods.Find(method)
	if err != nil {
		t.Fatal(err)
	}
	stages, err := m.Stages(n, o)
	if err != nil {
		t.Fatalf("%s on %s: %v", method, network, err)
	}
	return stages
}

// forwardOf writes the forward pass of all modules with their auxiliary networks.
func forwardOf(t *testing.T, stages []model.Stage, side int64) *graph.Graph {
	t.Helper()
	s, err := core.EvaluationStep(stages, core.StepOptions{Batch: 2, Image: graph.Shape{side, side, 3},
		Deviation: [4]float64{1, 1, 1}, Heads: true})
	if err != nil {
		t.Fatal(err)
	}
	return s.Graph
}

// unitsOf is how many units each module has.
func unitsOf(stages []model.Stage) (units []int) {
	for _, s := range stages {
		units = append(units, len(s.Units))
	}
	return units
}

// TestInfoProContrastHeads: the head of the contrastive loss has both linear layers of the program's 1c2f. Counts of
// the program; K = 8 is its count with 1c1f, 666,439, and seven times 128*128 + 128. Heads of older records, 1c1f, stay
// what they were.
func TestInfoProContrastHeads(t *testing.T) {
	for _, c := range []struct {
		network string
		modules int
		head    methods.Head
		want    int64
	}{
		{"resnet32", 4, "", 610_715},
		{"resnet32", 8, "", 666_439 + 7*16_512},
		{"resnet110", 4, "", 1_874_523},
		{"resnet32", 4, methods.Head1c1f, 561_179},
		{"resnet32", 8, methods.Head1c1f, 666_439},
		{"resnet110", 4, methods.Head1c1f, 1_824_987},
	} {
		s := step(t, c.network, "infopro", methods.Options{Modules: c.modules, Mode: methods.ModeContrast, Head: c.head})
		if got := trained(s); got != c.want {
			t.Errorf("%s, K=%d, head %q: %d parameters, want %d", c.network, c.modules, c.head, got, c.want)
		}
	}
	n, err := networks.New("resnet20", graph.Shape{32, 32, 3}, 10)
	if err != nil {
		t.Fatal(err)
	}
	m, err := methods.Find("infopro")
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Stages(n, methods.Options{Head: "3c3f"})
	if err == nil || !strings.Contains(err.Error(), `infopro-head "3c3f": must be 1c1f, 1c2f or 2c2f`) {
		t.Errorf("got %v", err)
	}
}

// TestAugLocalProgramOnImageNet: the script for ImageNet takes no units into the head. Counts of the program.
func TestAugLocalProgramOnImageNet(t *testing.T) {
	for _, c := range []struct {
		network  string
		program  bool
		networks int
		want     int64
	}{
		{"resnet34", true, 16, 154_359_936},
		{"resnet101", true, 33, 406_928_616},
		{"vgg13", true, 9, 58_506_024},
		{"resnet34", false, 12, 110_736_608},
		{"vgg13", false, 5, 31_915_912},
	} {
		s, err := stepFor(t, c.network, "auglocal", 224, 1000, methods.Options{AuxDepth: 4, NoPyramid: true, Program: c.program})
		if err != nil {
			t.Fatal(err)
		}
		var got int64
		modules := map[int]bool{}
		for _, v := range s.Graph.Values {
			if v.Category == graph.CategoryAuxiliaryParameter {
				got += v.Shape.Elements()
				modules[v.Module] = true
			}
		}
		if got != c.want || len(modules) != c.networks {
			t.Errorf("%s, program %v: %d auxiliary networks of %d parameters, want %d of %d",
				c.network, c.program, len(modules), got, c.networks, c.want)
		}
	}
	// The last auxiliary networks have as many blocks as units follow.
	stages := stagesFor(t, "resnet34", "auglocal", 224, 1000, methods.Options{AuxDepth: 4, NoPyramid: true, Program: true})
	var depths []int
	for _, s := range stages[11:] {
		depths = append(depths, s.AuxDepth)
	}
	if want := []int{4, 4, 3, 2, 1, 0}; !slices.Equal(depths, want) {
		t.Errorf("the last depths are %v, want %v", depths, want)
	}
}

// TestAugLocalNormalisesFeatures: at d = 1 the program for small images has a normalisation before the linear layer,
// the one for ImageNet has none.
func TestAugLocalNormalisesFeatures(t *testing.T) {
	for _, c := range []struct {
		side    int64
		program bool
		want    int
	}{{32, false, 7}, {32, true, 7}, {224, false, 7}, {224, true, 0}} {
		norms := 0
		stages := stagesFor(t, "resnet18", "auglocal", c.side, 10, methods.Options{AuxDepth: 1, Program: c.program})
		for _, v := range forwardOf(t, stages, c.side).Values {
			if strings.HasPrefix(v.Name, "aux.") && strings.Count(v.Name, ".") == 3 && strings.HasSuffix(v.Name, ".bn.weight") {
				norms++
			}
		}
		if norms != c.want {
			t.Errorf("%d pixels, program %v: %d normalisations of features, want %d", c.side, c.program, norms, c.want)
		}
	}
}

// TestFirstUnits: with fewer modules than units AugLocal's program takes one of the first units a module.
func TestFirstUnits(t *testing.T) {
	for _, c := range []struct {
		method string
		o      methods.Options
		want   []int
	}{
		{"dgl", methods.Options{Modules: 4, Cuts: methods.CutsFirst}, []int{1, 1, 1, 13}},
		{"infopro", methods.Options{Modules: 16, Cuts: methods.CutsFirst}, slices.Repeat([]int{1}, 16)},
		{"predsim", methods.Options{Modules: 1, Cuts: methods.CutsFirst}, []int{16}},
		// K = 8 and d = 2: K' = 6 modules, five with an auxiliary network.
		{"auglocal", methods.Options{Modules: 8, AuxDepth: 2, Program: true}, []int{1, 1, 1, 1, 1, 11}},
		{"auglocal", methods.Options{Modules: 8, AuxDepth: 2}, []int{2, 3, 2, 3, 3, 3}},
		{"auglocal", methods.Options{Modules: 16, AuxDepth: 2, Program: true}, append(slices.Repeat([]int{1}, 13), 3)},
	} {
		if got := unitsOf(stagesFor(t, "resnet32", c.method, 32, 10, c.o)); !slices.Equal(got, c.want) {
			t.Errorf("%s with %+v: units %v, want %v", c.method, c.o, got, c.want)
		}
	}
}

// TestManProgram: cuts, head and coefficients of MAN's published program. Its README's run is ResNet-32, K = 16: its stem
// belongs to the first of 15 modules, and what it uses has 2,274,624 parameters, the averages included.
func TestManProgram(t *testing.T) {
	s := step(t, "resnet32", "man", methods.Options{Program: true})
	count := trained(s)
	for _, v := range s.Graph.Values {
		if v.Category == graph.CategoryBuffer && strings.Contains(v.Name, ".average.") && !strings.Contains(v.Name, ".running_") {
			count += v.Shape.Elements()
		}
	}
	if count != 2_274_624 {
		t.Errorf("README's run: %d parameters, want 2,274,624", count)
	}
	units := unitsOf(stagesFor(t, "resnet32", "man", 32, 10, methods.Options{Modules: 16, Program: true}))
	if !slices.Equal(units, append([]int{2}, slices.Repeat([]int{1}, 14)...)) {
		t.Errorf("README's run: units %v, want two and then one a module", units)
	}
	// Stages of the next units, by K - 2.
	for _, c := range []struct {
		network string
		o       methods.Options
		want    []float64 // by the first set of coefficients, each this many times
		times   []int
	}{
		{"resnet32", methods.Options{Modules: 16}, []float64{13. / 14, 12. / 14, 11. / 14}, []int{4, 5, 5}},
		{"resnet32", methods.Options{Modules: 4}, []float64{0.5, 0, -0.5}, []int{1, 1, 1}},
		{"resnet32", methods.Options{Modules: 2}, []float64{1}, []int{1}},
		{"resnet32", methods.Options{Cuts: "1.2,2.4,3.0"}, []float64{0.5, -0.5}, []int{1, 2}}, // the unit after 2.4 is of stage 3
	} {
		c.o.Program = true
		var want, got [][2]float64
		for i, w := range c.want {
			want = append(want, slices.Repeat([][2]float64{{5 * w, 0.5 * w}}, c.times[i])...)
		}
		for _, l := range step(t, c.network, "man", c.o).Losses {
			switch {
			case l.Name == "reconstruction":
				got = append(got, [2]float64{l.Weight})
			case !l.Classifier:
				got[len(got)-1][1] = l.Weight
			}
		}
		near := func(a, b [2]float64) bool { return math.Abs(a[0]-b[0]) < 1e-12 && math.Abs(a[1]-b[1]) < 1e-12 }
		if !slices.EqualFunc(got, want, near) {
			t.Errorf("%s with %+v: weights %v, want %v", c.network, c.o, got, want)
		}
	}
	units = unitsOf(stagesFor(t, "resnet110", "man", 32, 10, methods.Options{Modules: 55, Program: true}))
	if len(units) != 54 || units[0] != 2 {
		t.Errorf("K=55 of ResNet-110: units %v, want 54 modules, the first of two units", units)
	}
	// The program's list for K = 32, as the last units of modules: a block is 18 units a stage after the stem.
	want := []int{2, 3, 5, 6, 8, 10, 12, 14, 15, 17, 18, 20, 21, 23, 24, 26, 28, 30, 32, 33, 35, 36,
		38, 40, 41, 43, 44, 46, 48, 50, 52}
	var got []int
	end := -1
	for _, u := range unitsOf(stagesFor(t, "resnet110", "man", 32, 10, methods.Options{Modules: 32, Program: true})) {
		end += u
		got = append(got, end)
	}
	if !slices.Equal(got, append(want, 54)) {
		t.Errorf("K=32 of ResNet-110 ends modules at %v, want %v and 54", got, want)
	}
}

// TestManProgramOnImageNet: 5 and 0.75 for every module of every network, and the wider decoder and head of its program
// for maps of 14x14. ResNet-152 is cut after blocks 3.0, 3.9 and 3.17.
func TestManProgramOnImageNet(t *testing.T) {
	stages := stagesFor(t, "resnet152", "man", 224, 1000, methods.Options{Modules: 4, Program: true})
	if got := unitsOf(stages); !slices.Equal(got, []int{13, 9, 8, 21}) {
		t.Errorf("units %v, want 13, 9, 8 and 21", got)
	}
	s, err := core.TrainingStep(stages, core.StepOptions{Batch: 2, Image: graph.Shape{224, 224, 3}, Deviation: [4]float64{1, 1, 1}})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range s.Losses {
		if want := map[string]float64{"reconstruction": 5, "classification": 0.75}[l.Name]; !l.Classifier && l.Weight != want {
			t.Errorf("module %d, %s: weight %g, want %g", l.Module, l.Name, l.Weight, want)
		}
	}
	const (
		decoder = (1024*192 + 192) + (192*64 + 64) + (64*32*9 + 32) + (32*12*9 + 12) + (12*3*9 + 3) + 2*(192+64+32+12)
		head    = 1024*256 + 256*256*9 + 256*512*9 + 512*2048 + 2*(256+256+512+2048) + 2048*1000 + 1000
		block   = 1024*256 + 256*256*9 + 256*1024 + 2*(256+256+1024)
	)
	var got int64
	for _, v := range s.Graph.Values {
		if v.Category == graph.CategoryAuxiliaryParameter {
			got += v.Shape.Elements()
		}
	}
	if got != 3*(decoder+head+block) {
		t.Errorf("%d auxiliary parameters, want %d", got, 3*(decoder+head+block))
	}
	for _, v := range s.Graph.Values {
		if want := (graph.Shape{2, 4, 4, 2048}); v.Name == "module0/aux.0/conv4:y" && !v.Shape.Equal(want) {
			t.Errorf("%s is %s, want %s", v.Name, v.Shape, want)
		}
	}
}

// TestLateAuxiliary: AugLocal's program for VGG on ImageNet makes auxiliary networks after it has initialised the weights, so
// theirs are PyTorch's defaults, uniform(1/sqrt(fan_in)) for weights and biases. The network's own, those of other
// networks, of small images and of runs that do not follow the program are not.
func TestLateAuxiliary(t *testing.T) {
	for _, c := range []struct {
		network, method string
		side            int64
		program, late   bool
	}{
		{"vgg11", "auglocal", 224, true, true}, {"vgg11", "dgl", 224, true, true},
		{"vgg11", "auglocal", 224, false, false}, {"vgg11", "auglocal", 32, true, false}, {"resnet18", "dgl", 224, true, false},
	} {
		layers := 0
		values := forwardOf(t, stagesFor(t, c.network, c.method, c.side, 10, methods.Options{Program: c.program}), c.side).Values
		weights := map[string]*graph.Value{}
		for _, v := range values {
			if v.Weight != nil {
				weights[v.Name] = v
			}
		}
		for name, w := range weights {
			layer, ok := strings.CutSuffix(name, ".weight")
			if !ok || len(w.Shape) != 4 {
				continue
			}
			out, kernel, in := w.Shape[0], w.Shape[1], w.Shape[3]
			want := graph.Weight{Init: graph.InitNormal, Scale: math.Sqrt(2 / float64(kernel*kernel*out))}
			bias := graph.Weight{}
			if strings.HasPrefix(name, "aux.") {
				layers++
				if c.late {
					want = graph.Weight{Init: graph.InitUniform, Scale: 1 / math.Sqrt(float64(kernel*kernel*in))}
					bias = want
				}
			}
			if w.Weight.Init != want.Init || w.Weight.Scale != want.Scale {
				t.Errorf("%+v: %s starts from %+v, want %+v", c, name, *w.Weight, want)
			}
			if b := weights[layer+".bias"]; b != nil && (b.Weight.Init != bias.Init || b.Weight.Scale != bias.Scale) {
				t.Errorf("%+v: %s starts from %+v, want %+v", c, b.Name, *b.Weight, bias)
			}
			if w.Weight.Layout != graph.LayoutConv {
				t.Errorf("%+v: %s lost its layout", c, name)
			}
		}
		for name, v := range weights {
			if len(v.Shape) == 1 && strings.HasSuffix(name, ".weight") && (v.Weight.Init != graph.InitConstant || v.Weight.Scale != 1) {
				t.Errorf("%+v: %s starts from %+v, want 1", c, name, *v.Weight)
			}
		}
		if layers == 0 {
			t.Errorf("%+v: no convolutions in auxiliary networks", c)
		}
	}
}
