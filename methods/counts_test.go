package methods_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
)

// stepFor builds the training step of a network for square images under a method.
func stepFor(t *testing.T, network, method string, side, classes int64, o methods.Options) (*core.Step, error) {
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
		t.Fatal(err)
	}
	return core.TrainingStep(stages, core.StepOptions{Batch: 2, Image: n.Input, Deviation: [4]float64{1, 1, 1}})
}

// TestAuxiliaryCounts compares the auxiliary networks of other kinds of networks than the traces'
// with counts from the methods' descriptions (testdata/make_counts.py).
func TestAuxiliaryCounts(t *testing.T) {
	text, err := os.ReadFile("testdata/counts.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Counts []struct {
			Network, Method string
			Depth           int
			Side, Classes   int64
			Want            int64 `json:"auxiliary_parameters"`
		}
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Counts) == 0 {
		t.Fatal("no counts")
	}
	for _, c := range golden.Counts {
		s, err := stepFor(t, c.Network, c.Method, c.Side, c.Classes, methods.Options{AuxDepth: c.Depth})
		if err != nil {
			t.Fatal(err)
		}
		var got int64
		for _, v := range s.Graph.Values {
			if v.Category == graph.CategoryAuxiliaryParameter {
				got += v.Shape.Elements()
			}
		}
		if got != c.Want {
			t.Errorf("%s on %s, depth %d, %d pixels: %d auxiliary parameters, want %d", c.Method, c.Network, c.Depth, c.Side, got, c.Want)
		}
	}
}

// TestAuxiliaryShapes compares the sides of auxiliary networks' maps, which no count of parameters shows,
// with ones worked out by hand.
func TestAuxiliaryShapes(t *testing.T) {
	for _, c := range []struct {
		network, method string
		side            int64
		o               methods.Options
		value           string
		want            graph.Shape
	}{
		// After the stem (56x56x64) units 8 and 16 are chosen, 256 and 512 wide: two halvings are pending
		// at the first block, which does one, and two again at the second.
		{"resnet50", "auglocal", 224, methods.Options{}, "module0/aux.0/layers.0/conv3:y", graph.Shape{2, 28, 28, 1024}},
		{"resnet50", "auglocal", 224, methods.Options{}, "module0/aux.0/layers.1/conv3:y", graph.Shape{2, 14, 14, 2048}},
		// After unit 0 of VGG-13 (64 wide) units 4 and 9, 256 and 512 wide: a pool each.
		{"vgg13", "auglocal", 224, methods.Options{}, "module0/aux.0/layers.0/0:y", graph.Shape{2, 112, 112, 256}},
		{"vgg13", "auglocal", 224, methods.Options{}, "module0/aux.0/layers.1/0:y", graph.Shape{2, 56, 56, 512}},
		{"vgg13", "auglocal", 224, methods.Options{}, "module0/aux.0:y", graph.Shape{2, 1, 1, 512}},
		// A map of 64 channels is 512 features as eight averages a channel.
		{"vgg13", "auglocal", 32, methods.Options{Selection: methods.SelectionRepetitive}, "module0/aux.0:y", graph.Shape{2, 8, 1, 64}},
		// DGL: by width on ImageNet, so the last stage of VGG (side 14) pools to 28 / 4; ResNets by their own side.
		{"vgg13", "dgl", 224, methods.Options{}, "module0/aux.0:y", graph.Shape{2, 56, 56, 64}},
		{"vgg13", "dgl", 224, methods.Options{}, "module8/aux.8:y", graph.Shape{2, 7, 7, 512}},
		{"vgg13", "dgl", 32, methods.Options{}, "module8/aux.8:y", graph.Shape{2, 1, 1, 512}},
		{"resnet34", "dgl", 224, methods.Options{}, "module1/aux.1:y", graph.Shape{2, 14, 14, 64}},
		// InfoPro halves the side except after the widest units.
		{"resnet50", "infopro", 32, methods.Options{}, "module1/aux.1/conv:y", graph.Shape{2, 16, 16, 512}},
		{"resnet50", "infopro", 32, methods.Options{}, "module14/aux.14/conv:y", graph.Shape{2, 4, 4, 2048}},
		// On ImageNet it halves it twice, as its program does after unit 4 (28x28), but not below 7, where unit 14 is; what
		// it decodes has 56, 112 and 224 pixels.
		{"resnet50", "infopro", 224, methods.Options{}, "module4/aux.4/conv4:y", graph.Shape{2, 7, 7, 2048}},
		{"resnet50", "infopro", 224, methods.Options{}, "module1/aux.1/conv3:y", graph.Shape{2, 14, 14, 512}},
		{"resnet50", "infopro", 224, methods.Options{}, "module14/aux.14/conv3:y", graph.Shape{2, 7, 7, 512}},
		{"resnet50", "infopro", 224, methods.Options{}, "module14/aux.14/dec2:y", graph.Shape{2, 56, 56, 32}},
		{"resnet50", "infopro", 224, methods.Options{}, "module1/aux.1/dec3:y", graph.Shape{2, 112, 112, 12}},
		{"resnet50", "infopro", 224, methods.Options{}, "module4/aux.4/dec4:y", graph.Shape{2, 224, 224, 3}},
	} {
		s, err := stepFor(t, c.network, c.method, c.side, 10, c.o)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, v := range s.Graph.Values {
			if v.Name == c.value {
				found = true
				if !v.Shape.Equal(c.want) {
					t.Errorf("%s on %s, %d pixels: %s is %s, want %s", c.method, c.network, c.side, v.Name, v.Shape, c.want)
				}
			}
		}
		if !found {
			t.Errorf("%s on %s, %d pixels: there is no %s", c.method, c.network, c.side, c.value)
		}
	}
}

// TestImagesThatAreTooSmall expects an error with the place and the sizes.
func TestImagesThatAreTooSmall(t *testing.T) {
	for _, c := range []struct {
		network, method string
		side            int64
		o               methods.Options
		want            string
	}{
		{"vgg13", "bp", 16, methods.Options{}, "input 2x1x1x512 gives an output of 0x0"},
		{"vgg13", "auglocal", 36, methods.Options{Selection: methods.SelectionRepetitive},
			"a map of 36 rows and 64 channels has no 512 equal parts"},
	} {
		if _, err := stepFor(t, c.network, c.method, c.side, 10, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s on %s, %d pixels: got %v, want %q", c.method, c.network, c.side, err, c.want)
		}
	}
}
