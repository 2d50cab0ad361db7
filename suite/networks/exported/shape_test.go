package exported

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/localbench/localbench/core/graph"
)

// moved is the small graph with nodes between the rectifier, whose result is relu_ [2 4 8 8], and the mean, which reads y. A node
// is its target, its inputs and outputs as JSON.
func moved(nodes [][3]string, tensors map[string]string) string {
	var text, values strings.Builder
	for _, n := range nodes {
		fmt.Fprintf(&text,
			`{"target":"torch.ops.aten.%s","inputs":[%s],"outputs":[%s],"metadata":{"nn_module_stack":"L__self__,,N"}},`+"\n",
			n[0], n[1], n[2])
	}
	for name, sizes := range tensors {
		list := strings.ReplaceAll(strings.TrimSpace(sizes), " ", `},{"as_int":`)
		fmt.Fprintf(&values, `"%s":{"dtype":7,"sizes":[{"as_int":%s}]},`, name, list)
	}
	const mean = `{"target":"torch.ops.aten.mean.dim","inputs":[{"name":"self","arg":{"as_tensor":{"name":"relu_"`
	graph := strings.Replace(smallGraph, mean, text.String()+strings.Replace(mean, "relu_", "y", 1), 1)
	return strings.Replace(graph, `"tensor_values":{`, `"tensor_values":{`+values.String(), 1)
}

// arg writes an input of a node.
func arg(name, kind, value string) string {
	return fmt.Sprintf(`{"name":"%s","arg":{"as_%s":%s}}`, name, kind, value)
}

func tensor(name string) string { return fmt.Sprintf(`{"name":"%s"}`, name) }

func args(list ...string) string { return strings.Join(list, ",") }

// halves are the channels of a tensor in two slices.
func halves(of, a, b string) [3]string {
	return [3]string{"chunk.default", args(arg("self", "tensor", tensor(of)), arg("chunks", "int", "2"), arg("dim", "int", "1")),
		fmt.Sprintf(`{"as_tensors":[%s,%s]}`, tensor(a), tensor(b))}
}

// joined are two tensors, one after the other.
func joined(a, b, y, dim string) [3]string {
	return [3]string{"cat.default", args(fmt.Sprintf(`{"name":"tensors","arg":{"as_tensors":[%s,%s]}}`, tensor(a), tensor(b)),
		arg("dim", "int", dim)), result(y)}
}

func result(name string) string { return fmt.Sprintf(`{"as_tensor":%s}`, tensor(name)) }

func one(target, of, y string, more ...string) [3]string {
	return [3]string{target, args(append([]string{arg("self", "tensor", tensor(of))}, more...)...), result(y)}
}

func TestShapeOps(t *testing.T) {
	shuffled := map[string]string{"v": "2 2 2 8 8", "t": "2 2 2 8 8", "y": "2 4 8 8"}
	for name, c := range map[string]struct {
		nodes   [][3]string
		tensors map[string]string
		want    []string
	}{
		"chunk and cat": {[][3]string{halves("relu_", "a", "b"), joined("b", "a", "y", "1")},
			map[string]string{"a": "2 2 8 8", "b": "2 2 8 8", "y": "2 4 8 8"},
			[]string{"slice 2x8x8x2", "slice 2x8x8x2", "concat 2x8x8x4"}},
		"cat along the last dimension": {[][3]string{joined("relu_", "relu_", "y", "-1")}, map[string]string{"y": "2 4 8 16"},
			[]string{"concat 2x8x16x4"}},
		"a slice in place, the other one read": {[][3]string{halves("relu_", "a", "b"), one("relu_.default", "a", "r"),
			joined("b", "a", "y", "1")}, map[string]string{"a": "2 2 8 8", "b": "2 2 8 8", "r": "2 2 8 8", "y": "2 4 8 8"},
			[]string{"slice 2x8x8x2", "slice 2x8x8x2", "relu 2x8x8x2", "concat 2x8x8x4"}},
		"shuffle": {[][3]string{one("view.default", "relu_", "v"),
			one("transpose.int", "v", "t", arg("dim0", "int", "1"), arg("dim1", "int", "2")),
			one("contiguous.default", "t", "c"), one("view.default", "c", "y")},
			map[string]string{"v": "2 2 2 8 8", "t": "2 2 2 8 8", "c": "2 2 2 8 8", "y": "2 4 8 8"}, []string{"permute 2x8x8x4"}},
		"shuffle of torch": {[][3]string{one("channel_shuffle.default", "relu_", "y", arg("groups", "int", "2"))}, shuffled,
			[]string{"permute 2x8x8x4"}},
		"there and back": {[][3]string{one("permute.default", "relu_", "p", arg("dims", "ints", "[0,2,3,1]")),
			one("relu.default", "p", "r"), one("permute.default", "r", "y", arg("dims", "ints", "[0,3,1,2]"))},
			map[string]string{"p": "2 8 8 4", "r": "2 8 8 4", "y": "2 4 8 8"}, []string{"relu 2x8x8x4"}},
		"transposed": {[][3]string{one("transpose.int", "relu_", "y", arg("dim0", "int", "2"), arg("dim1", "int", "-1"))},
			map[string]string{"y": "2 4 8 8"}, []string{"permute 2x8x8x4"}},
		"all of it": {[][3]string{one("slice.Tensor", "relu_", "y", arg("dim", "int", "1"), arg("end", "int", "9223372036854775807"))},
			map[string]string{"y": "2 4 8 8"}, nil},
		"from the end": {[][3]string{one("slice.Tensor", "relu_", "a", arg("dim", "int", "1"), arg("start", "int", "-1")),
			one("slice.Tensor", "relu_", "b", arg("dim", "int", "-3"), arg("end", "int", "-1")), joined("a", "b", "y", "1")},
			map[string]string{"a": "2 1 8 8", "b": "2 3 8 8", "y": "2 4 8 8"},
			[]string{"slice 2x8x8x1", "slice 2x8x8x3", "concat 2x8x8x4"}},
	} {
		n, err := New(write(t, archive(t, map[string]string{"net/models/model.json": moved(c.nodes, c.tensors)})),
			graph.Shape{8, 8, 3}, 5)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, op := range step(t, n, 2).Ops[5:] {
			if op.Kind == graph.KindAdaptiveAveragePool {
				break
			}
			got = append(got, op.Kind.String()+" "+op.Results[0].Shape.String())
		}
		if d := cmp.Diff(append([]string{}, c.want...), append([]string{}, got...)); d != "" {
			t.Errorf("%s: ops after the rectifier (-want +got):\n%s", name, d)
		}
	}
}

// refusals are graphs that are refused, and why.
func refusals() map[string]struct{ graph, want string } {
	slice := func(arguments ...string) string {
		return moved([][3]string{one("slice.Tensor", "relu_", "y", arguments...)}, map[string]string{"y": "2 2 8 8"})
	}
	return map[string]struct{ graph, want string }{
		"slice of a dimension that is not there": {slice(arg("dim", "int", "7"), arg("end", "int", "2")),
			"slice with arguments that are not numbers"},
		"slice with a step": {slice(arg("dim", "int", "1"), arg("end", "int", "4"), arg("step", "int", "2")),
			"slice with a step"},
		"slice of nothing": {slice(arg("dim", "int", "1"), arg("start", "int", "3"), arg("end", "int", "2")),
			"of the elements 3 to 2 of 4"},
		"slice of another length": {slice(arg("dim", "int", "1"), arg("end", "int", "3")),
			`the shape of the tensor "y" doesn't follow`},
		"slice of the batch": {slice(arg("start", "int", "1")), "slice of the batch"},
		"narrow beyond the end": {moved([][3]string{one("narrow.default", "relu_", "y", arg("dim", "int", "1"),
			arg("start", "int", "3"), arg("length", "int", "9223372036854775807"))}, map[string]string{"y": "2 2 8 8"}),
			"of the elements 3 to"},
		"slices of more than there is": {moved([][3]string{halves("relu_", "a", "y")},
			map[string]string{"a": "2 3 8 8", "y": "2 2 8 8"}), "are more than the tensor"},
		"slices of less than there is": {moved([][3]string{halves("relu_", "a", "y")},
			map[string]string{"a": "2 1 8 8", "y": "2 2 8 8"}), "are less than the tensor"},
		"slices of an absurd length": {moved([][3]string{halves("relu_", "a", "y")},
			map[string]string{"a": "2 9223372036854775807 8 8", "y": "2 2 8 8"}), "are more than the tensor"},
		"cat of other heights": {moved([][3]string{one("slice.Tensor", "relu_", "a", arg("dim", "int", "2"), arg("end", "int", "4")),
			joined("a", "relu_", "y", "1")}, map[string]string{"a": "2 4 4 8", "y": "2 8 8 8"}), "cat of tensors of different shapes"},
		"cat of batches": {moved([][3]string{joined("relu_", "relu_", "y", "0")}, map[string]string{"y": "4 4 8 8"}), "cat of batches"},
		"cat along no dimension": {moved([][3]string{joined("relu_", "relu_", "y", "4")}, map[string]string{"y": "2 8 8 8"}),
			"cat along a dimension that the tensors don't have"},
		"permute of the batch": {moved([][3]string{one("permute.default", "relu_", "y", arg("dims", "ints", "[1,0,2,3]"))},
			map[string]string{"y": "2 4 8 8"}), "permute of the batch"},
		"permute, twice the same": {moved([][3]string{one("permute.default", "relu_", "y", arg("dims", "ints", "[0,1,1,3]"))},
			map[string]string{"y": "2 4 8 8"}), "permute of dimensions that the tensor"},
		"transpose of no dimension": {moved([][3]string{one("transpose.int", "relu_", "y", arg("dim0", "int", "-9"),
			arg("dim1", "int", "1"))}, map[string]string{"y": "2 4 8 8"}), "transpose of dimensions that the tensor"},
		"view of other sizes": {moved([][3]string{one("view.default", "relu_", "y")}, map[string]string{"y": "2 4 8 9"}),
			"view to a shape that doesn't divide or join dimensions"},
		"view across dimensions": {moved([][3]string{one("view.default", "relu_", "y")}, map[string]string{"y": "2 3 8 8"}),
			"view to a shape that doesn't divide or join dimensions"},
		"shuffle of groups that don't divide": {moved([][3]string{one("channel_shuffle.default", "relu_", "y",
			arg("groups", "int", "3"))}, map[string]string{"y": "2 4 8 8"}), "in groups that don't divide its channels"},
		"pixels by a factor that doesn't divide": {moved([][3]string{one("pixel_shuffle.default", "relu_", "y",
			arg("upscale_factor", "int", "3"))}, map[string]string{"y": "2 4 8 8"}), "by a factor that doesn't divide its sizes"},
		"pixels by nothing": {moved([][3]string{one("pixel_unshuffle.default", "relu_", "y",
			arg("downscale_factor", "int", "0"))}, map[string]string{"y": "2 4 8 8"}), "by factors that are not positive numbers"},
		"pixels in another shape": {moved([][3]string{one("pixel_unshuffle.default", "relu_", "y",
			arg("downscale_factor", "int", "2"))}, map[string]string{"y": "2 4 8 8"}), `the shape of the tensor "y" doesn't follow`},
		"mean over the batch": {moved([][3]string{one("mean.dim", "relu_", "y", arg("dim", "ints", "[0]"),
			arg("keepdim", "bool", "true"))}, map[string]string{"y": "2 4 8 8"}),
			"mean over the batch, or over dimensions that the tensor doesn't have"},
		"mean in another shape": {moved([][3]string{one("mean.dim", "relu_", "y", arg("dim", "ints", "[1]"))},
			map[string]string{"y": "2 1 8 8"}), `the shape of the tensor "y" doesn't follow`},
		"read after a change through a slice": {moved([][3]string{halves("relu_", "a", "b"), one("relu_.default", "a", "r"),
			joined("relu_", "r", "y", "1")}, map[string]string{"a": "2 2 8 8", "b": "2 2 8 8", "r": "2 2 8 8", "y": "2 6 8 8"}),
			"cat of a tensor that was changed in place through a view of it"},
	}
}

func TestRefusedShapeOps(t *testing.T) {
	for name, c := range refusals() {
		_, err := New(write(t, archive(t, map[string]string{"net/models/model.json": c.graph})), graph.Shape{8, 8, 3}, 5)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// Images of another size than in the file have other heights and widths: what is split evenly there need not be here.
func TestOtherSizesOfImages(t *testing.T) {
	for name, want := range map[string]string{
		"woven":  "the slice in module \"\" is of a dimension of 7, which is 11 here: export the network for images of this size",
		"turned": "the view in module \"\": a dimension of 8, which is 12 here, is split: export the network for images of this size",
		"means":  "a dimension of 256, which is 576 here, is split: export the network for images of this size",
	} {
		n, err := New("testdata/"+name+".pt2", graph.Shape{48, 48, 3}, 10)
		if err != nil {
			t.Fatal(err)
		}
		b := graph.NewBuilder(true)
		x := b.Input("x", graph.Shape{2, 48, 48, 3}, graph.TypeF32)
		for _, u := range n.Units {
			b.In(u.Name, func() { x = u.Forward(b, x) })
		}
		n.Head(b, x)
		if _, err := b.Graph(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}
