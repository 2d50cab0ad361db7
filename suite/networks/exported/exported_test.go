package exported

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// smallGraph is a convolution, a normalisation, a ReLU in place, a global average pool, and a linear layer.
const smallGraph = `{"schema_version":{"major":8,"minor":20},"graph_module":{"graph":{"nodes":[
{"target":"torch.ops.aten.conv2d.default","inputs":[{"name":"input","arg":{"as_tensor":{"name":"x"}}},
 {"name":"weight","arg":{"as_tensor":{"name":"p_c_weight"}}},{"name":"bias","arg":{"as_none":true}},
 {"name":"padding","arg":{"as_ints":[1,1]}}],"outputs":[{"as_tensor":{"name":"conv2d"}}],
 "metadata":{"nn_module_stack":"L__self__,,N;L__self__c,c,C"}},
{"target":"torch.ops.aten.batch_norm.default","inputs":[{"name":"input","arg":{"as_tensor":{"name":"conv2d"}}},
 {"name":"weight","arg":{"as_tensor":{"name":"p_n_weight"}}},{"name":"bias","arg":{"as_tensor":{"name":"p_n_bias"}}},
 {"name":"running_mean","arg":{"as_tensor":{"name":"b_n_running_mean"}}},
 {"name":"running_var","arg":{"as_tensor":{"name":"b_n_running_var"}}},
 {"name":"training","arg":{"as_bool":true}},{"name":"momentum","arg":{"as_float":0.1}},{"name":"eps","arg":{"as_float":1e-05}}],
 "outputs":[{"as_tensor":{"name":"batch_norm"}}],"metadata":{"nn_module_stack":"L__self__,,N;L__self__n,n,B"}},
{"target":"torch.ops.aten.relu_.default","inputs":[{"name":"self","arg":{"as_tensor":{"name":"batch_norm"}}}],
 "outputs":[{"as_tensor":{"name":"relu_"}}],"metadata":{"nn_module_stack":"L__self__,,N"}},
{"target":"torch.ops.aten.mean.dim","inputs":[{"name":"self","arg":{"as_tensor":{"name":"relu_"}}},
 {"name":"dim","arg":{"as_ints":[-1,-2]}}],
 "outputs":[{"as_tensor":{"name":"mean"}}],"metadata":{"nn_module_stack":"L__self__,,N"}},
{"target":"torch.ops.aten.linear.default","inputs":[{"name":"input","arg":{"as_tensor":{"name":"mean"}}},
 {"name":"weight","arg":{"as_tensor":{"name":"p_l_weight"}}},{"name":"bias","arg":{"as_tensor":{"name":"p_l_bias"}}}],
 "outputs":[{"as_tensor":{"name":"linear"}}],"metadata":{"nn_module_stack":"L__self__,,N;L__self__l,l,L"}}],
"tensor_values":{"x":{"dtype":7,"sizes":[{"as_int":2},{"as_int":3},{"as_int":8},{"as_int":8}]},
"p_c_weight":{"dtype":7,"sizes":[{"as_int":4},{"as_int":3},{"as_int":3},{"as_int":3}]},
"p_n_weight":{"dtype":7,"sizes":[{"as_int":4}]},"p_n_bias":{"dtype":7,"sizes":[{"as_int":4}]},
"b_n_running_mean":{"dtype":7,"sizes":[{"as_int":4}]},"b_n_running_var":{"dtype":7,"sizes":[{"as_int":4}]},
"p_l_weight":{"dtype":7,"sizes":[{"as_int":5},{"as_int":4}]},"p_l_bias":{"dtype":7,"sizes":[{"as_int":5}]},
"conv2d":{"dtype":7,"sizes":[{"as_int":2},{"as_int":4},{"as_int":8},{"as_int":8}]},
"batch_norm":{"dtype":7,"sizes":[{"as_int":2},{"as_int":4},{"as_int":8},{"as_int":8}]},
"relu_":{"dtype":7,"sizes":[{"as_int":2},{"as_int":4},{"as_int":8},{"as_int":8}]},
"mean":{"dtype":7,"sizes":[{"as_int":2},{"as_int":4}]},"linear":{"dtype":7,"sizes":[{"as_int":2},{"as_int":5}]}}},
"signature":{"input_specs":[{"parameter":{"arg":{"name":"p_c_weight"},"parameter_name":"c.weight"}},
{"parameter":{"arg":{"name":"p_n_weight"},"parameter_name":"n.weight"}},
{"parameter":{"arg":{"name":"p_n_bias"},"parameter_name":"n.bias"}},
{"parameter":{"arg":{"name":"p_l_weight"},"parameter_name":"l.weight"}},
{"parameter":{"arg":{"name":"p_l_bias"},"parameter_name":"l.bias"}},
{"buffer":{"arg":{"name":"b_n_running_mean"},"buffer_name":"n.running_mean"}},
{"buffer":{"arg":{"name":"b_n_running_var"},"buffer_name":"n.running_var"}},
{"user_input":{"arg":{"as_tensor":{"name":"x"}}}}],"output_specs":[{"user_output":{"arg":{"as_tensor":{"name":"linear"}}}}]}}}`

// archive is a zip file with these entries.
func archive(t testing.TB, entries map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		f, err := w.Create(name)
		if err == nil {
			_, err = f.Write([]byte(entries[name]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// step writes the forward pass of a network, and returns its graph.
func step(t *testing.T, n *model.Network, batch int64) *graph.Graph {
	t.Helper()
	b := graph.NewBuilder(true)
	b.EnableDropout()
	b.InModule(0, graph.PhaseForward, func() {
		x := b.NormalizeImage(b.Input("images", append(graph.Shape{batch}, n.Input...), graph.TypeU8), [4]float64{},
			[4]float64{1, 1, 1, 1})
		for _, u := range n.Units {
			b.In(u.Name, func() { x = u.Forward(b, x) })
		}
		b.Output(n.Head(b, x))
	})
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func write(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "net.pt2")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSmallGraph(t *testing.T) {
	path := write(t, archive(t, map[string]string{"net/models/model.json": smallGraph}))
	n, err := New(path, graph.Shape{16, 12, 3}, 5) // images of another size
	if err != nil {
		t.Fatal(err)
	}
	g := step(t, n, 7)
	var state, ops []string
	for _, v := range g.Values {
		if v.Category.Persistent() {
			state = append(state, v.Name+" "+v.Shape.String())
		}
	}
	for _, op := range g.Ops[1:] {
		ops = append(ops, op.Kind.String()+" "+op.Results[0].Shape.String())
	}
	if d := cmp.Diff([]string{"c.weight 4x3x3x3", "n.weight 4", "n.bias 4", "n.running_mean 4", "n.running_var 4", "l.weight 5x4",
		"l.bias 5"}, state); d != "" {
		t.Errorf("state (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"conv 7x16x12x4", "norm_stats 4", "norm_apply 7x16x12x4", "relu 7x16x12x4",
		"adaptive_average_pool 7x1x1x4", "linear 7x5"}, ops); d != "" {
		t.Errorf("ops (-want +got):\n%s", d)
	}
}

func TestRefusedArchives(t *testing.T) {
	model := "net/models/model.json"
	replaced := func(old, new string) map[string]string {
		if !strings.Contains(smallGraph, old) {
			t.Fatalf("the small graph has no %s", old)
		}
		return map[string]string{model: strings.Replace(smallGraph, old, new, 1)}
	}
	for _, c := range []struct {
		name    string
		entries map[string]string
		want    string
	}{
		{"no model", map[string]string{"net/archive_format": "pt2"}, "holds no models/<name>.json"},
		{"two models", map[string]string{model: smallGraph, "net/models/other.json": smallGraph}, "several models"},
		{"damaged JSON", map[string]string{model: smallGraph[:300]}, "damaged JSON at byte 300"},
		{"deep JSON", map[string]string{model: strings.Repeat("[", 200) + strings.Repeat("]", 200)}, "nested more than 100 deep"},
		{"too large", map[string]string{model: strings.Repeat(" ", maxGraph+1)}, "larger than 64 MiB"},
		{"too many nodes", replaced(`"nodes":[`, `"nodes":[`+strings.Repeat("{},", maxNodes)), "at most 50000 are read"},
		{"schema", replaced(`"major":8`, `"major":9`), "schema version 9"},
		{"pickled weights", map[string]string{model: smallGraph,
			"net/data/weights/model_weights_config.json": `{"config":{"c.weight":{"path_name":"weight_0","use_pickle":true}}}`},
			"the weights of c.weight are pickled"},
		{"evaluation mode", replaced(`"as_bool":true`, `"as_bool":false`), `batch_norm in module "n" is in evaluation mode`},
		{"unknown tensor", replaced(`"name":"input","arg":{"as_tensor":{"name":"conv2d"`,
			`"name":"input","arg":{"as_tensor":{"name":"nothing"`), `reads "nothing" before it is computed`},
		{"cycle", replaced(`"name":"input","arg":{"as_tensor":{"name":"conv2d"`,
			`"name":"input","arg":{"as_tensor":{"name":"linear"`), `reads "linear" before it is computed`},
		{"absurd shape", replaced(`"conv2d":{"dtype":7,"sizes":[{"as_int":2},{"as_int":4},{"as_int":8}`,
			`"conv2d":{"dtype":7,"sizes":[{"as_int":2},{"as_int":4},{"as_int":9223372036854775807}`),
			"dimension 2 of the tensor conv2d is 9223372036854775807"},
		{"other batch", replaced(`"conv2d":{"dtype":7,"sizes":[{"as_int":2}`, `"conv2d":{"dtype":7,"sizes":[{"as_int":3}`),
			"the first dimension of the tensor conv2d is not the batch"},
		{"symbolic height", replaced(`"x":{"dtype":7,"sizes":[{"as_int":2},{"as_int":3},{"as_int":8}`,
			`"x":{"dtype":7,"sizes":[{"as_int":2},{"as_int":3},{"as_expr":{}}`), "only the batch may be"},
		{"unused parameter",
			replaced(`{"user_input"`, `{"parameter":{"arg":{"name":"p_z"},"parameter_name":"z.weight"}},{"user_input"`),
			"the parameter z.weight is not used"},
		{"two results", replaced(`"output_specs":[`, `"output_specs":[{"user_output":{"arg":{"as_tensor":{"name":"mean"}}}},`),
			"returns 2 results"},
		{"maps", replaced(`"user_output":{"arg":{"as_tensor":{"name":"linear"}}}`,
			`"user_output":{"arg":{"as_tensor":{"name":"x"}}}`), "returns no logits"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, archive(t, c.entries))
			_, err := New(path, graph.Shape{8, 8, 3}, 5)
			var format *FormatError
			if !errors.As(err, &format) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path+": ") ||
				!strings.Contains(format.Hint(), "torch.export.save(torch.export.export(net.train()") {
				t.Errorf("got %.300v, want %q and how to export", err, c.want)
			}
		})
	}
	path := write(t, archive(t, map[string]string{model: smallGraph}))
	for image, want := range map[[2]int64]string{{3, 10}: "returns 5 logits, but the data set has 10 classes",
		{1, 5}: "takes images of 3 channels, but those of the data set have 1"} {
		if _, err := New(path, graph.Shape{8, 8, image[0]}, image[1]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := New(write(t, []byte("no archive")), graph.Shape{8, 8, 3}, 5); err == nil ||
		!strings.Contains(err.Error(), "not a .pt2 archive") {
		t.Errorf("text: got %v", err)
	}
}

func TestAllUnsupportedOpsAreReportedAtOnce(t *testing.T) {
	_, err := New("testdata/unsupported.pt2", graph.Shape{32, 32, 3}, 10)
	var unsupported *UnsupportedError
	if !errors.As(err, &unsupported) {
		t.Fatalf("got %v, want an UnsupportedError", err)
	}
	want := []UnsupportedOp{{"softplus", 2, "act"}, {"amax", 1, ""},
		{"conv2d with different strides, paddings or dilations in height and width", 1, "stem"}, {"cumsum", 1, ""},
		{"layer_norm over other dimensions than the channels", 1, "rows"},
		{"linear of another dimension than the channels", 1, "columns"},
		{"mul by a parameter other than one with an element for each channel", 1, ""}}
	if d := cmp.Diff(want, unsupported.Ops); d != "" {
		t.Errorf("ops (-want +got):\n%s", d)
	}
}

func TestEvaluationExportIsRefused(t *testing.T) {
	_, err := New("testdata/odd_evaluation.pt2", graph.Shape{32, 32, 3}, 10)
	if err == nil || !strings.Contains(err.Error(), "evaluation mode") {
		t.Errorf("got %v", err)
	}
}

// A symbolic and a literal batch give the same network.
func TestSymbolicBatch(t *testing.T) {
	dump := func(name string) string {
		n, err := New("testdata/"+name+".pt2", graph.Shape{32, 32, 3}, 10)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := step(t, n, 6).Dump(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if d := cmp.Diff(dump("odd"), dump("odd_symbolic")); d != "" {
		t.Errorf("the graphs differ (-literal +symbolic):\n%s", d)
	}
}

func TestUnits(t *testing.T) {
	for name, c := range map[string]struct {
		classes int64
		want    []string // scope, place and width
	}{
		// Outside of blocks each convolution begins a unit, but for the two that read one map and whose sum is read.
		"odd": {10, []string{"|first|8", "|second|8", "|side|12"}},
		// The module that holds all layers is opened; the average pool over the last block's result is the head's.
		"wrapped": {5, []string{"body|body.stem|8", "body.blocks.0|body.blocks.0|8", "body.blocks.1|body.blocks.1|16",
			"body.blocks.2|body.blocks.2|16"}},
		// Blocks in lists of blocks; pools before the first block belong to the stem.
		"resnet18": {1000, []string{"|conv1|64", "layer1.0|layer1.0|64", "layer1.1|layer1.1|64", "layer2.0|layer2.0|128",
			"layer2.1|layer2.1|128", "layer3.0|layer3.0|256", "layer3.1|layer3.1|256", "layer4.0|layer4.0|512", "layer4.1|layer4.1|512"}},
	} {
		n, err := New("testdata/"+name+".pt2", graph.Shape{32, 32, 3}, c.classes)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, u := range n.Units {
			got = append(got, fmt.Sprintf("%s|%s|%d", u.Name, u.Place, u.Width))
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: units (-want +got):\n%s", name, d)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(archive(f, map[string]string{"net/models/model.json": smallGraph}))
	f.Add(archive(f, map[string]string{"models/m.json": `{"schema_version":{"major":8}}`}))
	f.Add(archive(f, map[string]string{"net/models/model.json": strings.ReplaceAll(smallGraph, "relu_", "add_")}))
	f.Add([]byte("PK"))
	f.Fuzz(func(t *testing.T, content []byte) { checkArchive(t, content) })
}

// FuzzGraph changes the JSON itself, which the checksums of an archive protect from FuzzRead.
func FuzzGraph(f *testing.F) {
	f.Add([]byte(smallGraph))
	f.Add([]byte(strings.Replace(smallGraph, `"as_ints":[1,1]`, `"as_ints":[-1,1048576]`, 1)))
	f.Add([]byte(strings.Replace(smallGraph, "mean.dim", "view.default", 1)))
	f.Add([]byte(strings.Replace(smallGraph, `"as_int":8}`, `"as_int":1099511627776}`, 3)))
	for _, c := range refusals() {
		f.Add([]byte(c.graph))
	}
	f.Add([]byte(moved([][3]string{halves("relu_", "a", "b"), joined("b", "a", "y", "1")},
		map[string]string{"a": "2 2 8 8", "b": "2 2 8 8", "y": "2 4 8 8"})))
	f.Add([]byte(moved([][3]string{one("channel_shuffle.default", "relu_", "y", arg("groups", "int", "2"))},
		map[string]string{"y": "2 4 8 8"})))
	f.Fuzz(func(t *testing.T, text []byte) {
		checkArchive(t, archive(t, map[string]string{"net/models/model.json": string(text)}))
	})
}

// checkArchive reads an archive, which may be refused, and writes the ops of its network.
func checkArchive(t *testing.T, content []byte) {
	d, _, err := readGraph(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return
	}
	p, err := convert(d)
	if err != nil {
		return
	}
	n, err := p.network("fuzz", graph.Shape{p.image[1], p.image[2], p.image[0]}, nil)
	if err != nil {
		return
	}
	if _, err := p.network("again", n.Input, []*model.Network{n}); err != nil {
		t.Errorf("compared with itself: %v", err)
	}
	b := graph.NewBuilder(true)
	x := b.Input("x", append(graph.Shape{2}, n.Input...), graph.TypeF32)
	for _, u := range n.Units {
		b.In(u.Name, func() { x = u.Forward(b, x) })
	}
	y := n.Head(b, x)
	for i, u := range n.Units {
		if n.Block != nil {
			blocks := graph.NewBuilder(true)
			block := n.Block("block", u, int64(1+i%2))
			block.Forward(blocks, blocks.Input("x", graph.Shape{2, 8, 8, 6}, graph.TypeF32))
		}
	}
	if g, err := b.Graph(); err == nil && !y.Shape.Equal(graph.Shape{2, n.Classes}) {
		t.Errorf("logits %s of %d classes: %d ops", y.Shape, n.Classes, len(g.Ops))
	}
}
