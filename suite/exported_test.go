package suite

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/plan"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/datasets"
)

// planned is what a plan says without the names of scopes and values.
type planned struct {
	Model       results.Model
	Memory      results.Memory
	Kinds       []string
	Allocations []plan.Allocation
}

func planOn(t *testing.T, r Request) planned {
	t.Helper()
	specs, err := r.Expand()
	if err != nil {
		t.Fatal(err)
	}
	d, err := engine.Open(BackendNull, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c, err := CompileOn(d, specs[0])
	if err != nil {
		t.Fatal(err)
	}
	p := planned{Model: c.Model, Memory: c.Memory, Allocations: c.Allocations}
	p.Memory.PeakOp, p.Memory.Top, p.Model.Modules = "", nil, nil
	for _, op := range c.Step.Graph.Ops {
		p.Kinds = append(p.Kinds, op.Kind.String())
	}
	for i := range p.Allocations {
		p.Allocations[i].Name, p.Allocations[i].Scope = "", ""
	}
	return p
}

// Networks of torchvision give, read from a file, the program and the layout of those that are written in Go under every method:
// every op, and every allocation with its size, its offset and its life. They are recognised.
func TestExportedNetworksPlanLikeBuiltInOnes(t *testing.T) {
	for _, c := range []struct{ file, name string }{{"resnet18", "resnet18"}, {"resnet34", "resnet34"}, {"resnet50", "resnet50"},
		{"vgg13_bn", "vgg13"}, {"mobilenet_v2", "mobilenetv2"}, {"regnet_x_400mf", "regnetx400mf"},
		{"efficientnet_b0", "efficientnetb0"}} {
		path := filepath.Join("networks", "exported", "testdata", c.file+".pt2")
		for _, m := range []string{"bp", "checkpoint", "dgl", "predsim", "infopro", "man", "auglocal"} {
			comparePlans(t, c.name, path, Request{Methods: []string{m}}, c.name)
		}
		if !testing.Short() {
			comparePlans(t, c.name, path, Request{Methods: []string{"auglocal"}, Modules: []int{4}, Quirks: QuirksPaper}, c.name)
			comparePlans(t, c.name, path, Request{Methods: []string{"dgl"}, Modules: []int{3},
				Settings: results.Settings{Cuts: "balanced"}}, c.name)
		}
	}
}

// The same networks with another momentum of one normalisation are not recognised. Nevertheless the rules for any network find
// the same units and, for residual networks and MobileNetV2, build the same auxiliary networks.
func TestRulesForExportedNetworksPlanLikeBuiltInOnes(t *testing.T) {
	for _, c := range []struct {
		file, name string
		methods    []string
	}{
		{"resnet18", "resnet18", []string{"bp", "checkpoint", "dgl", "predsim", "infopro", "man", "auglocal"}},
		{"resnet34", "resnet34", []string{"bp", "checkpoint", "dgl", "infopro", "auglocal"}},
		{"resnet50", "resnet50", []string{"bp", "checkpoint", "dgl", "infopro", "auglocal"}},
		{"vgg13_bn", "vgg13", []string{"bp", "checkpoint", "infopro"}}, // DGL has sides of its own for VGG (Unit.PoolSide)
		{"mobilenet_v2", "mobilenetv2", []string{"bp", "checkpoint", "dgl", "infopro", "auglocal"}},
		{"regnet_x_400mf", "regnetx400mf", []string{"bp", "checkpoint", "dgl", "infopro", "auglocal"}},
		{"efficientnet_b0", "efficientnetb0", []string{"bp", "dgl", "infopro"}},
	} {
		path := withOtherMomentum(t, filepath.Join("networks", "exported", "testdata", c.file+".pt2"))
		for _, m := range c.methods {
			r := Request{Methods: []string{m}}
			if c.file == "efficientnet_b0" && m != "bp" {
				// The last unit of the file's network is in the head of the built-in one.
				r.Modules, r.Cuts = []int{17}, "first"
			}
			comparePlans(t, c.name, path, r, "")
		}
	}
}

// comparePlans compares the plans of a request for a built-in network and for a file, which is recognised as the network
// builtIn.
func comparePlans(t *testing.T, name, file string, r Request, builtIn string) {
	t.Helper()
	t.Run(fmt.Sprintf("%s %s %d", name, r.Methods[0], r.Modules), func(t *testing.T) {
		r.Datasets, r.Batches, r.Networks = []string{"imagenet"}, []int64{16}, []string{name}
		want := planOn(t, r)
		want.Model.BuiltIn = builtIn
		r.Networks = []string{file}
		if d := cmp.Diff(want, planOn(t, r)); d != "" {
			t.Errorf("the plans differ (-built-in +exported):\n%.4000s", d)
		}
	})
}

// withOtherMomentum is a copy of a file of torch.export in which one batch normalisation has another momentum.
func withOtherMomentum(t *testing.T, file string) string {
	t.Helper()
	source, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	var copied bytes.Buffer
	w, changed := zip.NewWriter(&copied), false
	for _, f := range source.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		const momentum = `"momentum","arg":{"as_float":0.%d}`
		other := bytes.Replace(content, fmt.Appendf(nil, momentum, 1), fmt.Appendf(nil, momentum, 2), 1)
		changed = changed || !bytes.Equal(content, other)
		part, err := w.Create(f.Name)
		if err == nil {
			_, err = part.Write(other)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), filepath.Base(file))
	if err := errors.Join(w.Close(), os.WriteFile(path, copied.Bytes(), 0o600)); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	return path
}

// A spec keeps the digest of its network's file, and is not run with another file of the same name.
func TestExportedNetworkOfASpecIsPinned(t *testing.T) {
	path := filepath.Join(t.TempDir(), "net.pt2")
	use := func(name string) {
		t.Helper()
		content, err := os.ReadFile(filepath.Join("networks", "exported", "testdata", name))
		if err == nil {
			err = os.WriteFile(path, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	expand := func() results.Spec {
		t.Helper()
		r := Request{Methods: []string{"bp"}, Networks: []string{path}, Datasets: []string{"imagenet"}, Batches: []int64{2}}
		specs, err := r.Expand()
		if err != nil {
			t.Fatal(err)
		}
		return specs[0]
	}
	use("resnet18.pt2")
	spec := expand()
	use("resnet34.pt2")
	if _, err := Build(spec); err == nil || !strings.Contains(err.Error(), "the file holds another network") {
		t.Errorf("another file: got %v", err)
	}
	if other := expand(); results.SpecID(other) == results.SpecID(spec) {
		t.Errorf("two files have the id %s", results.SpecID(spec))
	}
	spec.Options = nil
	if _, err := Build(spec); err == nil {
		t.Error("a spec without a digest was accepted")
	}
}

// Generated images take the size and the number of classes of an exported network, so that a plan needs the file alone;
// --image-size and other data sets are as they are asked for.
func TestGeneratedImagesFitAnExportedNetwork(t *testing.T) {
	path := filepath.Join("networks", "exported", "testdata", "resnet50.pt2") // of 224 pixels and 1000 classes
	build := func(r Request) *Run {
		t.Helper()
		r.Methods, r.Networks, r.Batches = []string{"bp"}, []string{path}, []int64{2}
		runs, err := r.Build()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Build(runs[0].Spec)
		if err != nil || again.ID() != runs[0].ID() {
			t.Errorf("the spec builds another run: %v", err)
		}
		return runs[0]
	}
	if r := build(Request{Datasets: []string{"synthetic"}}); r.Dataset.Height != 224 || r.Dataset.Classes != 1000 ||
		r.Spec.ImageSize != 224 ||
		len(r.Dataset.ClassNames) != 1000 {
		t.Errorf("%d pixels, %d classes, --image-size %d: want 224, 1000, 224", r.Dataset.Height, r.Dataset.Classes, r.Spec.ImageSize)
	}
	if r := build(Request{Datasets: []string{"synthetic"}, ImageSize: 64}); r.Dataset.Height != 64 || r.Dataset.Classes != 1000 {
		t.Errorf("with --image-size 64: %d pixels, %d classes, want 64 and 1000", r.Dataset.Height, r.Dataset.Classes)
	}
	few, err := (&Request{Methods: []string{"dgl"},
		Networks: []string{filepath.Join("networks", "exported", "testdata", "weights.pt2")},
		Datasets: []string{"synthetic"}, Batches: []int64{2}}).Build() // of 16 pixels and 4 classes
	if err != nil || few[0].Dataset.Height != 16 || few[0].Dataset.Classes != 4 || few[0].Network.Classes != 4 {
		t.Errorf("a network of 4 classes: got %v, want images of 16 pixels and 4 classes", err)
	}
	wide, err := build(Request{Datasets: []string{"synthetic"}, TrainLimit: 4, TestLimit: 2}).Dataset.Open("",
		datasets.Options{TrainLimit: 4, TestLimit: 2})
	if err != nil {
		t.Fatal(err)
	}
	if wide.Classes != 1000 || len(wide.Train.Images) != 4*224*224*3 {
		t.Errorf("opened: %d classes, %d bytes, want 1000 and 4 images", wide.Classes, len(wide.Train.Images))
	}
}
