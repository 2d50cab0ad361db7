package engine_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/plan"
)

// normalisedShapes are convolutions [n h w c] to k channels that own kernels compute: images that fill tiles, that end within
// one, of one row, and several in a tile.
var normalisedShapes = [][5]int64{{2, 32, 32, 16, 16}, {3, 11, 9, 16, 32}, {5, 7, 7, 32, 16}, {2, 16, 16, 32, 32},
	{9, 1, 20, 16, 16}, {70, 2, 3, 32, 32}, manyTiles}

// manyTiles has more tiles than blocks run at once.
var manyTiles = [5]int64{280, 32, 1, 32, 32}

// TestNormalisedInputSameBits compares own kernels that normalise their input while they load it with norm_apply followed by the
// same convolution: forward and the gradient with respect to the weights, no bit may differ, and no workspace holds the
// normalised input.
func TestNormalisedInputSameBits(t *testing.T) {
	for _, backend := range enginetest.Backends() {
		if backend == "cpu" {
			continue // TestStripsSameBits
		}
		d := enginetest.Open(t, backend, engine.Options{TF32: true, Own: true})
		for _, s := range normalisedShapes {
			for _, element := range []graph.ElementType{graph.TypeF32, graph.TypeBF16} {
				for _, a := range []graph.Activation{graph.ActivationNone, graph.ActivationReLU, graph.ActivationReLU6} {
					if s == manyTiles && a != graph.ActivationReLU {
						continue // seconds each
					}
					t.Run(fmt.Sprintf("%s %v %s %s", backend, s, element, a), func(t *testing.T) {
						whole := runNormalised(t, d, s, element, a, true)
						same := runNormalised(t, d, s, element, a, false)
						for i, name := range []string{"y", "dw"} {
							at := slices.IndexFunc(whole[i], func(x float32) bool { return x != x })
							if at >= 0 || !slices.Equal(whole[i], same[i]) {
								t.Errorf("%s differs from that of the stored normalised input, or is NaN", name)
							}
						}
					})
				}
			}
		}
	}
}

// runNormalised returns the results of the forward and the backward convolution of a normalised input, which they normalise
// themselves if fused is true.
func runNormalised(t *testing.T, d engine.Device, s [5]int64, element graph.ElementType, a graph.Activation,
	fused bool) [2][]float32 {
	t.Helper()
	const epsilon = 1e-5
	b := graph.NewBuilder(true)
	c, k := s[3], s[4]
	x, dy := b.Input("x", graph.Shape{s[0], s[1], s[2], c}, element), b.Input("dy", graph.Shape{s[0], s[1], s[2], k}, element)
	w := b.Input("w", graph.Shape{k, 3, 3, c}, element)
	norm := make([]*graph.Value, 4)
	for i, name := range []string{"mean", "variance", "gamma", "beta"} {
		norm[i] = b.Input(name, graph.Shape{c}, graph.TypeF32)
	}
	in := x
	if !fused {
		in = b.NormApply(x, norm[0], norm[1], norm[2], norm[3], epsilon)
		b.Ops()[0].Attr.Activation = a
	}
	y := b.Conv(in, w, nil, graph.ConvOptions{Padding: 1})
	conv := b.Ops()[len(b.Ops())-1]
	if fused {
		first, _ := conv.Kind.NormInput()
		copy(conv.Operands[first:], norm)
		conv.Attr.Activation, conv.Attr.Epsilon = a, epsilon
	}
	dw, _ := b.ConvBackwardWeights(conv, dy)
	b.Output(y)
	b.Output(dw)
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	p := bindTo(t, d, g, plan.Options{})
	for i, op := range g.Ops {
		name, bytes := p.Kernels()[i], p.Scratch()[i]
		own := name == ownConvolution && (op.Kind != graph.KindConv || bytes == 0)
		if d.Name() == "cpu" {
			own = strings.Contains(name, inStrips)
		}
		if op.NormalisesInput() && !own {
			t.Errorf("%s: kernel %q with %d bytes of workspace", op.Kind, name, bytes)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, v := range g.Inputs {
		content := make([]float64, v.Shape.Elements())
		for i := range content {
			content[i] = random.NormFloat64()
			if v == norm[1] {
				content[i] = math.Exp(content[i])
			}
			if v == x {
				content[i] = 3*content[i] + 1
			}
		}
		write(t, p, v, content)
	}
	if err := p.Run(0, len(g.Ops)); err != nil {
		t.Fatal(err)
	}
	return [2][]float32{read(t, p, y), read(t, p, dw)}
}
