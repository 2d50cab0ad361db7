package networks_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
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

const weightsFile = "exported/testdata/weights.pt2"

// persistent are the values of a program that are loaded.
func persistent(p *core.Program) (values []*graph.Value) {
	for _, v := range p.Graph.Values {
		if v.Category.Persistent() {
			values = append(values, v)
		}
	}
	return values
}

// TestLogitsWithWeightsOfAnArchive loads the weights and running statistics of a network that PyTorch trained and exported; the
// logits are PyTorch's.
func TestLogitsWithWeightsOfAnArchive(t *testing.T) {
	d := enginetest.Open(t, enginetest.Backends()[0], engine.Options{Threads: 1})
	for _, want := range readJSON[golden](t, "testdata/weights.json").Logits {
		for _, training := range []bool{false, true} {
			compareLogits(t, d, want, training, func(t *testing.T, p *core.Program) {
				if err := weights.LoadModel(weightsFile, p, persistent(p)); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// TestLogitsOfABuiltInNetworkWithWeightsOfAnArchive writes weights for regnetx400mf as torch.export lays them out, under
// torchvision's names; with them the built-in network has torchvision's logits.
func TestLogitsOfABuiltInNetworkWithWeightsOfAnArchive(t *testing.T) {
	d := enginetest.Open(t, enginetest.Backends()[0], engine.Options{Threads: 1})
	all := readJSON[golden](t, "testdata/torchvision.json").Logits
	at := slices.IndexFunc(all, func(n goldenNetwork) bool { return n.Network == "regnetx400mf" && n.Side == 32 })
	compareLogits(t, d, all[at], false, func(t *testing.T, p *core.Program) {
		if err := weights.LoadModel(writeArchive(t, filledTensors(t, p)), p, persistent(p)); err != nil {
			t.Fatal(err)
		}
	})
}

// filledTensors are the weights of the golden script for a program, which has none of them afterwards.
func filledTensors(t *testing.T, p *core.Program) map[string]archived {
	t.Helper()
	fill(t, p)
	tensors := map[string]archived{}
	for _, v := range persistent(p) {
		program, canonical := make([]float32, v.Shape.Elements()), make([]float32, v.Shape.Elements())
		if err := p.Read(v, program); err != nil {
			t.Fatal(err)
		}
		graph.ToCanonical(v, canonical, program)
		tensors[v.Name] = archived{v.CanonicalShape(), canonical}
		if err := p.Write(v, make([]float32, len(program))); err != nil {
			t.Fatal(err)
		}
	}
	return tensors
}

// archived is a tensor to write.
type archived struct {
	shape    graph.Shape
	elements []float32
}

// writeArchive writes the weights of an archive of torch.export.
func writeArchive(t *testing.T, tensors map[string]archived) string {
	t.Helper()
	type number struct {
		Int int64 `json:"as_int"`
	}
	var file bytes.Buffer
	w := zip.NewWriter(&file)
	config := map[string]any{}
	for i, name := range slices.Sorted(maps.Keys(tensors)) {
		part, err := w.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("net/data/weights/weight_%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		raw := make([]byte, 0, 4*len(tensors[name].elements))
		for _, x := range tensors[name].elements {
			bits := math.Float32bits(x)
			raw = append(raw, byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24))
		}
		if _, err := part.Write(raw); err != nil {
			t.Fatal(err)
		}
		shape := tensors[name].shape
		sizes, strides, stride := make([]number, len(shape)), make([]number, len(shape)), int64(1)
		for d := len(shape) - 1; d >= 0; d-- {
			sizes[d].Int, strides[d].Int = shape[d], stride
			stride *= shape[d]
		}
		config[name] = map[string]any{"path_name": fmt.Sprintf("weight_%d", i), "use_pickle": false,
			"tensor_meta": map[string]any{"dtype": 7, "layout": 7, "sizes": sizes, "strides": strides, "storage_offset": number{}}}
	}
	part, err := w.Create("net/data/weights/model_weights_config.json")
	if err == nil {
		err = json.NewEncoder(part).Encode(map[string]any{"config": config})
	}
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "net.pt2")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestWeightsOfAnArchiveThatDoNotFit: the error lists the first tensors of each kind, with shapes.
func TestWeightsOfAnArchiveThatDoNotFit(t *testing.T) {
	n, err := networks.New("resnet18", graph.Shape{32, 32, 3}, 10)
	if err != nil {
		t.Fatal(err)
	}
	g, _, _ := build(t, graph.NewBuilder(false), n, 2)
	var values []*graph.Value
	tensors := map[string]archived{"extra.weight": {graph.Shape{2}, make([]float32, 2)},
		"bn1.num_batches_tracked": {graph.Shape{1}, make([]float32, 1)}}
	for _, v := range g.Values {
		if !v.Category.Persistent() {
			continue
		}
		values = append(values, v)
		shape := slices.Clone(v.CanonicalShape())
		switch {
		case v.Name == "fc.weight":
			shape[0] = 1000
		case strings.HasPrefix(v.Name, "layer4."):
			continue
		}
		tensors[v.Name] = archived{shape, make([]float32, shape.Elements())}
	}
	err = weights.CheckModel(writeArchive(t, tensors), values)
	const want = " does not fit the network: fc.weight is F32[1000 512], but must be F32[10 512]; " +
		"missing layer4.0.bn1.bias [512]; missing layer4.0.bn1.running_mean [512]; missing layer4.0.bn1.running_var [512]; " +
		"missing layer4.0.bn1.weight [512]; 21 more missing; extra extra.weight [2]"
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// TestLayersStartAsInPyTorch compares the bounds of initial values with the largest that PyTorch draws in 200 initialisations of
// each layer: uniform(±1/sqrt(inputs of one output)), which is kaiming_uniform with a = sqrt(5).
func TestLayersStartAsInPyTorch(t *testing.T) {
	reach := readJSON[struct{ Reach map[string]float64 }](t, "testdata/weights.json").Reach
	n, err := networks.New(weightsFile, graph.Shape{16, 16, 3}, 4)
	if err != nil {
		t.Fatal(err)
	}
	g, _, _ := build(t, graph.NewBuilder(true), n, 2)
	compared := 0
	for _, v := range g.Values {
		largest, ok := reach[v.Name]
		switch {
		case ok:
			compared++
			if v.Weight.Init != graph.InitUniform || largest > v.Weight.Scale*(1+1e-6) || largest < 0.99*v.Weight.Scale {
				t.Errorf("%s: got the start %+v, but PyTorch's values reach %g", v.Name, *v.Weight, largest)
			}
		case v.Category.Persistent():
			one := strings.HasSuffix(v.Name, ".weight") || strings.HasSuffix(v.Name, ".running_var")
			if one && (v.Weight.Init != graph.InitConstant || v.Weight.Scale != 1) || !one && v.Weight.Scale != 0 {
				t.Errorf("%s: got the start %+v, want 1 for weights and variances, else 0", v.Name, *v.Weight)
			}
		}
	}
	if compared != len(reach) || compared == 0 {
		t.Errorf("got %d of %d layers' values", compared, len(reach))
	}
}
