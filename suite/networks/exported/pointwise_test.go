package exported

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/localbench/localbench/core/graph"
)

// Channels last, in PyTorch, are how maps are stored here: the permutations of a ConvNeXt block leave no op. Gates and scales are
// ops of their own, a dilated convolution and a pool in ceil mode keep their arguments.
func TestPointwiseOps(t *testing.T) {
	n, err := New("testdata/pointwise.pt2", graph.Shape{32, 32, 3}, 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, op := range step(t, n, 2).Ops[1:] {
		name := op.Kind.String()
		if op.Attr.Activation != graph.ActivationNone {
			name += " " + op.Attr.Activation.String()
		}
		got = append(got, name+" "+op.Results[0].Shape.String())
	}
	mixer := func(map_, wide, pooled string) []string {
		return []string{"conv " + map_, "layer_norm " + map_, "linear " + wide, "activate gelu " + wide, "linear " + map_,
			"scale " + map_, "add " + map_, "adaptive_average_pool " + pooled, "conv " + pooled, "relu relu " + pooled, "gate " + map_}
	}
	want := slices.Concat([]string{"conv 2x32x32x8", "activate gelu_tanh 2x32x32x8"}, mixer("2x32x32x8", "2x32x32x24", "2x1x1x8"),
		[]string{"conv 2x16x16x12", "activate sigmoid 2x16x16x12", "average_pool 2x9x9x12"}, mixer("2x9x9x12", "2x9x9x36", "2x1x1x12"),
		[]string{"adaptive_average_pool 2x1x1x12", "layer_norm 2x1x1x12", "linear 2x16", "activate hardswish 2x16", "linear 2x10"})
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("ops (-want +got):\n%s", d)
	}
	for _, v := range step(t, n, 2).Values {
		if v.Name == "first.gamma" && !v.CanonicalShape().Equal(graph.Shape{8}) {
			t.Errorf("%s has the shape %s in files, want 8", v.Name, v.CanonicalShape())
		}
	}
}

// The layer scale of torchvision's ConvNeXt is [C 1 1] in files.
func TestLayerScaleKeepsItsShape(t *testing.T) {
	n, err := New("testdata/convnext_tiny_64.pt2", graph.Shape{64, 64, 3}, 10)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, v := range step(t, n, 2).Values {
		if v.Name == "features.1.0.layer_scale" {
			found = true
			if !v.Shape.Equal(graph.Shape{96}) || !v.CanonicalShape().Equal(graph.Shape{96, 1, 1}) {
				t.Errorf("%s: shape %s, in files %s, want 96 and 96x1x1", v.Name, v.Shape, v.CanonicalShape())
			}
		}
	}
	if !found {
		t.Error("there is no parameter features.1.0.layer_scale")
	}
}

func TestAttentionIsRefusedByName(t *testing.T) {
	for _, c := range []struct{ graph, want string }{
		{strings.Replace(smallGraph, "relu_.default", "scaled_dot_product_attention.default", 1),
			"N computes attention (scaled_dot_product_attention: 1, first in the network itself); transformers are not supported"},
		{strings.Replace(strings.Replace(smallGraph, "relu_.default", "softmax.int", 1), "linear.default", "matmul.default", 1),
			"N computes attention (softmax: 1, "},
	} {
		_, err := New(write(t, archive(t, map[string]string{"net/models/model.json": c.graph})), graph.Shape{8, 8, 3}, 5)
		var format *FormatError
		if !errors.As(err, &format) || !strings.Contains(err.Error(), c.want) || format.Hint() != "" {
			t.Errorf("got %v, want %q and no hint on exports", err, c.want)
		}
	}
	softmax := strings.Replace(smallGraph, "relu_.default", "softmax.int", 1)
	_, err := New(write(t, archive(t, map[string]string{"net/models/model.json": softmax})), graph.Shape{8, 8, 3}, 5)
	if err == nil || strings.Contains(err.Error(), "attention") {
		t.Errorf("softmax alone: got %v, want an error that does not speak of attention", err)
	}
}
