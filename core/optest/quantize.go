package optest

import (
	"fmt"
	"math"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/rng"
)

// quantizations are shapes of less than a group, of whole groups, of a last group of every kind of tail, and one that several
// threads share.
var quantizations = []graph.Shape{{1}, {3, 10}, {1, 3, 5, 17}, {256}, {2, 8, 8, 16}, {257, 33}, {5, 7, 9, 12}, {19, 4096}}

// groupwise gives groups of 256 elements different extents: one of equal numbers, one of zeros of both signs, one of a range
// that is too small to divide by, and others of results of a ReLU, of numbers of both signs, and of numbers that are far from
// zero.
func groupwise() fill {
	return func(s rng.Stream, out []float64) {
		for i := range out {
			x := s.Normal(uint64(i))
			switch i / graph.QuantizedGroup % 8 {
			case 0:
				out[i] = x
			case 1:
				out[i] = max(x, 0)
			case 2:
				out[i] = 1000 + x
			case 3:
				out[i] = -0.75
			case 4:
				out[i] = math.Copysign(0, x)
			case 5:
				out[i] = x * 0x1p-104
			case 6:
				out[i] = x * 0x1p100
			default:
				out[i] = math.Exp(x)
			}
		}
	}
}

func quantizeCases() []Case {
	var out []Case
	for _, s := range quantizations {
		for _, bits := range []int64{8, 4} {
			out = append(out,
				Case{Name: fmt.Sprintf("%s in %d bits", s, bits), Kind: graph.KindQuantize, build: func(p *program) {
					p.Quantize(p.input("x", groupwise(), s...), p.typed("stream", graph.TypeS32, scattered(), 3), bits)
				}},
				Case{Name: fmt.Sprintf("%s from %d bits", s, bits), Kind: graph.KindDequantize, build: func(p *program) {
					packed, ranges := graph.QuantizedShapes(s, bits)
					p.Dequantize(p.typed("packed", graph.TypeU8, whole(256), packed...), p.input("ranges", uniform(0.25, 3), ranges...), bits, s,
						graph.TypeF32)
				}})
		}
		for _, a := range []graph.Activation{graph.ActivationReLU, graph.ActivationReLU6} {
			out = append(out, Case{Name: fmt.Sprintf("%s, where %s passes", s, a), Kind: graph.KindQuantize, build: func(p *program) {
				p.QuantizeMask(p.input("x", clipped(), s...), a)
			}})
		}
		out = append(out, Case{Name: fmt.Sprintf("%s from 1 bit", s), Kind: graph.KindDequantize, build: func(p *program) {
			packed, _ := graph.QuantizedShapes(s, 1)
			p.Dequantize(p.typed("packed", graph.TypeU8, whole(256), packed...), nil, 1, s, graph.TypeF32)
		}})
	}
	return out
}
