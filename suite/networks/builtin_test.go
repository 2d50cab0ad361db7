package networks_test

import (
	"archive/zip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/suite/networks"
	"github.com/localbench/localbench/suite/weights"
)

// edited is a copy of a file of exported/testdata whose graph has other texts.
func edited(t *testing.T, file string, edits ...edit) string {
	t.Helper()
	source, err := zip.OpenReader(filepath.Join("exported", "testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	path := filepath.Join(t.TempDir(), file)
	target, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(target)
	for _, f := range source.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		text := string(content)
		if strings.Contains(f.Name, "/models/") {
			for _, e := range edits {
				text = e.apply(t, text)
			}
		}
		part, err := w.Create(f.Name)
		if err == nil {
			_, err = part.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// edit puts new for the first old after a mark, or for each old if the mark is empty. Mark and old must be there.
type edit struct{ mark, old, new string }

func (e edit) apply(t *testing.T, text string) string {
	t.Helper()
	at := strings.Index(text, e.mark)
	if at < 0 || !strings.Contains(text[at:], e.old) {
		t.Fatalf("the graph has no %q after %q", e.old, e.mark)
	}
	count := 1
	if e.mark == "" {
		count = -1
	}
	return text[:at] + strings.Replace(text[at:], e.old, e.new, count)
}

// sizes are a shape in a graph.
func sizes(extents ...string) string {
	return `"sizes":[{"as_int":` + strings.Join(extents, `},{"as_int":`) + `}]`
}

// classes edits a network of torchvision for another number of classes than 1000; features are the inputs of its last layer.
func classes(features, n string) []edit {
	return []edit{{"", sizes("1000", features), sizes(n, features)}, {"", sizes("1000"), sizes(n)},
		{"", sizes("4", "1000"), sizes("4", n)}}
}

// A file of torchvision's network has the units of the built-in one, at sizes for which the built-in one is torchvision's.
func TestExportedNetworksAreRecognised(t *testing.T) {
	for _, c := range []struct {
		file, name string
		sides      []int64 // where it is, and where it is not
		not        int64
	}{
		{"resnet18", "resnet18", []int64{224, 128, 160}, 64},
		{"resnet34", "resnet34", []int64{224}, 32},
		{"resnet50", "resnet50", []int64{224, 129}, 127},
		{"vgg13_bn", "vgg13", []int64{224, 256}, 64},
		{"mobilenet_v2", "mobilenetv2", []int64{224}, 32},
		{"efficientnet_b0", "efficientnetb0", []int64{224, 240}, 96},
		{"regnet_x_400mf", "regnetx400mf", []int64{224}, 32},
	} {
		path := filepath.Join("exported", "testdata", c.file+".pt2")
		for _, side := range append(c.sides, c.not) {
			n, err := networks.New(path, graph.Shape{side, side, 3}, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if side == c.not {
				if n.BuiltIn != "" || n.Units[0].BuiltInPlace != "" {
					t.Errorf("%s at %d pixels: taken for %s", c.file, side, n.BuiltIn)
				}
				continue
			}
			want, err := networks.New(c.name, graph.Shape{side, side, 3}, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if n.BuiltIn != c.name || n.Name != path || len(n.Units) != len(want.Units) || n.LateAuxiliary != want.LateAuxiliary {
				t.Errorf("%s at %d pixels: taken for %q, with the name %s and %d units", c.file, side, n.BuiltIn, n.Name, len(n.Units))
				continue
			}
			for i, u := range n.Units {
				if w := want.Units[i]; u.BuiltInPlace != w.Place || u.Width != w.Width || u.PoolSide != w.PoolSide {
					t.Errorf("%s: unit %d is %+v, want %+v", c.file, i, u, w)
				}
			}
		}
	}
}

// A network that differs in one layer or in how layers are connected is not taken for the built-in one.
func TestChangedNetworksAreNotRecognised(t *testing.T) {
	weight := func(layer string) string {
		return `{"name":"weight","arg":{"as_tensor":{"name":"p_` + layer + `_weight"}}`
	}
	tensor := func(name string, old, new string) edit { return edit{`"` + name + `":{"dtype"`, old, new} }
	for _, c := range []struct {
		about, file string
		edits       []edit
	}{
		{"the constants of one normalisation", "resnet18.pt2",
			[]edit{{"p_layer3_1_bn2_weight", `{"name":"momentum","arg":{"as_float":0.1}`, `{"name":"momentum","arg":{"as_float":0.2}`}}},
		{"another epsilon", "regnet_x_400mf.pt2",
			[]edit{{"", `{"name":"eps","arg":{"as_float":1e-05}`, `{"name":"eps","arg":{"as_float":0.001}`}}},
		{"one activation", "resnet18.pt2", []edit{{"p_layer1_1_conv1_weight", "relu_.default", "hardswish_.default"}}},
		{"the stride in another convolution of the bottleneck", "resnet50.pt2",
			[]edit{{weight("layer2_0_conv1"), `,"kind":1}`, `,"kind":1},{"name":"stride","arg":{"as_int":2}}`},
				{weight("layer2_0_conv2"), `{"as_ints":[2,2]}`, `{"as_ints":[1,1]}`}}},
		{"a width inside of one block", "efficientnet_b0.pt2", []edit{
			tensor("p_features_3_1_block_2_fc1_weight", sizes("10", "240", "1", "1"), sizes("12", "240", "1", "1")),
			tensor("p_features_3_1_block_2_fc1_bias", sizes("10"), sizes("12")),
			tensor("conv2d_22", sizes("4", "10", "1", "1"), sizes("4", "12", "1", "1")),
			tensor("silu__14", sizes("4", "10", "1", "1"), sizes("4", "12", "1", "1")),
			tensor("p_features_3_1_block_2_fc2_weight", sizes("240", "10", "1", "1"), sizes("240", "12", "1", "1"))}},
		{"the rate of dropout", "mobilenet_v2.pt2", []edit{{`dropout.default"`, `{"name":"p","arg":{"as_float":0.2}`,
			`{"name":"p","arg":{"as_float":0.3}`}}},
		{"a shortcut from another block", "resnet18.pt2", []edit{{`{"name":"self","arg":{"as_tensor":{"name":"batch_norm_4"}}`,
			`{"name":"other","arg":{"as_tensor":{"name":"relu__2"}}`, `{"name":"other","arg":{"as_tensor":{"name":"max_pool2d"}}`}}},
		{"the output of the adaptive pool", "vgg13_bn.pt2", []edit{
			{"", "torch.ops.aten.adaptive_avg_pool2d.default", "torch.ops.aten.relu.default"}}},
	} {
		path := edited(t, c.file, c.edits...)
		n, err := networks.New(path, graph.Shape{224, 224, 3}, 1000)
		if err != nil {
			t.Errorf("%s: %v", c.about, err)
			continue
		}
		if n.BuiltIn != "" {
			t.Errorf("%s: %s was taken for %s", c.about, c.file, n.BuiltIn)
		}
		build(t, graph.NewBuilder(true), n, 2)
	}
}

// Parameters keep the names that they have in the file, whatever those are.
func TestRecognisedNetworksKeepTheirNames(t *testing.T) {
	n, err := networks.New(edited(t, "resnet18.pt2", edit{"", "layer", "stage"}), graph.Shape{224, 224, 3}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	g, _, _ := build(t, graph.NewBuilder(true), n, 2)
	if n.BuiltIn != "resnet18" || n.Units[4].Place != "stage2.1" || n.Units[4].BuiltInPlace != "2.1" ||
		g.Parameter("stage2.1.bn2.running_mean") == nil || g.Parameter("layer2.1.bn2.running_mean") != nil {
		t.Errorf("recognised as %q; unit 4 is %+v", n.BuiltIn, n.Units[4])
	}
}

// The logits of recognised networks, with weights from an archive of torch.export, are torchvision's.
func TestLogitsOfRecognisedNetworks(t *testing.T) {
	d := enginetest.Open(t, enginetest.Backends()[0], engine.Options{Threads: 1})
	all := readJSON[golden](t, "testdata/torchvision.json").Logits
	for _, c := range []struct{ file, name, features string }{{"efficientnet_b0.pt2", "efficientnetb0", "1280"},
		{"resnet18.pt2", "resnet18", "512"}, {"resnet50.pt2", "resnet50", "2048"}, {"mobilenet_v2.pt2", "mobilenetv2", "1280"},
		{"regnet_x_400mf.pt2", "regnetx400mf", "400"}} {
		want := all[slices.IndexFunc(all, func(n goldenNetwork) bool { return n.Network == c.name && n.Side >= 128 && n.Classes == 5 })]
		want.Network = edited(t, c.file, classes(c.features, "5")...)
		n, err := networks.New(want.Network, graph.Shape{want.Side, want.Side, 3}, 5)
		if err != nil || n.BuiltIn != c.name {
			t.Fatalf("%s: got %v, want the units of %s", c.file, err, c.name)
		}
		for _, training := range []bool{false, true} {
			if training && testing.Short() {
				continue
			}
			compareLogits(t, d, want, training, func(t *testing.T, p *core.Program) {
				if err := weights.LoadModel(writeArchive(t, filledTensors(t, p)), p, persistent(p)); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}
