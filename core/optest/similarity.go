package optest

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
)

func upsampleCases() []Case {
	var out []Case
	for _, s := range []struct{ n, h, w, c, p, q int64 }{
		{2, 8, 8, 64, 32, 32}, {1, 16, 16, 32, 32, 32}, {3, 5, 7, 3, 11, 9}, {2, 1, 1, 17, 4, 3},
		{1, 4, 6, 10, 1, 1}, {2, 3, 1, 16, 3, 5}, {1, 9, 8, 5, 4, 3}, {2, 6, 6, 33, 6, 6},
	} {
		name := fmt.Sprintf("%dx%dx%dx%d to %dx%d", s.n, s.h, s.w, s.c, s.p, s.q)
		out = append(out, Case{Name: name, Kind: graph.KindUpsample, build: func(p *program) {
			p.Upsample(p.input("x", normal(0, 1), s.n, s.h, s.w, s.c), s.p, s.q)
		}}, Case{Name: name, Kind: graph.KindUpsampleBackward, build: func(p *program) {
			forward := newProgram()
			forward.Upsample(forward.input("x", nil, s.n, s.h, s.w, s.c), s.p, s.q)
			p.UpsampleBackward(forward.last(), p.input("dy", normal(0, 1), s.n, s.p, s.q, s.c))
		}})
	}
	return out
}

// reconstructionCases have logits whose exponential over- and underflows.
func reconstructionCases() []Case {
	var out []Case
	for _, s := range []struct {
		n, h, w, c int64
		deviation  float64
	}{{1, 1, 1, 3, 1}, {2, 5, 7, 3, 2}, {7, 8, 8, 3, 1}, {3, 32, 32, 3, 60}, {2, 4, 4, 17, 0.01}, {2, 17, 15, 3, 3}} {
		name := fmt.Sprintf("%dx%dx%dx%d, deviation %g", s.n, s.h, s.w, s.c, s.deviation)
		operands := func(p *program) (logits, images *graph.Value) {
			return p.input("logits", normal(0, s.deviation), s.n, s.h, s.w, s.c),
				p.typed("images", graph.TypeU8, whole(256), s.n, s.h, s.w, s.c)
		}
		out = append(out, Case{Name: name, Kind: graph.KindBinaryCrossEntropy, build: func(p *program) {
			p.BinaryCrossEntropy(operands(p))
		}})
		backward := Case{Name: name, Kind: graph.KindBinaryCrossEntropyBackward, build: func(p *program) {
			logits, images := operands(p)
			p.BinaryCrossEntropyBackward(&graph.Op{Operands: []*graph.Value{logits, images}}, 0.3)
		}}
		out = append(out, backward.inPlace()...)
	}
	return out
}

func deviationCases() []Case {
	var out []Case
	for _, s := range [][4]int64{{2, 8, 8, 64}, {3, 5, 7, 3}, {1, 1, 2, 17}, {5, 32, 32, 16}, {2, 3, 3, 10}} {
		name := graph.Shape(s[:]).String()
		x := func(p *program) *graph.Value { return p.input("x", normal(0.5, 1), s[:]...) }
		out = append(out, Case{Name: name, Kind: graph.KindDeviation, build: func(p *program) { p.Deviation(x(p)) }})
		backward := Case{Name: name, Kind: graph.KindDeviationBackward, build: func(p *program) {
			p.DeviationBackward(&graph.Op{
				Operands: []*graph.Value{x(p)}, Results: []*graph.Value{p.input("y", uniform(0.5, 1.5), s[0], s[3])},
			}, p.input("dy", normal(0, 1), s[0], s[3]))
		}}
		out = append(out, backward.inPlace()...)
	}
	flat := Case{Name: "a map without deviation has no gradient", Kind: graph.KindDeviationBackward, build: func(p *program) {
		p.DeviationBackward(&graph.Op{
			Operands: []*graph.Value{p.input("x", constant(1), 2, 3, 3, 20)}, Results: []*graph.Value{p.input("y", constant(0), 2, 20)},
		}, p.input("dy", normal(0, 1), 2, 20))
	}}
	return append(out, flat)
}

// pairing is the shapes of a loss over pairs of samples.
type pairing struct{ n, c, classes int64 }

func pairings() []pairing {
	return []pairing{{32, 16, 10}, {7, 3, 2}, {2, 8, 10}, {33, 17, 10}, {128, 64, 10}, {5, 128, 100}, {130, 10, 3}, {300, 33, 7}}
}

func (s pairing) String() string {
	return fmt.Sprintf("%d samples, %d features, %d classes", s.n, s.c, s.classes)
}

func (s pairing) operands(p *program) (features, labels *graph.Value) {
	return p.input("features", normal(0.3, 1), s.n, s.c), p.typed("labels", graph.TypeS32, whole(s.classes), s.n)
}

func pairCases() []Case { return pairCasesOf(pairings()) }

func pairCasesOf(shapes []pairing) []Case {
	var out []Case
	for _, s := range shapes {
		out = append(out, Case{Name: s.String(), Kind: graph.KindSimilarity, build: func(p *program) {
			x, labels := s.operands(p)
			p.Similarity(x, labels, s.classes)
		}}, Case{Name: s.String(), Kind: graph.KindSimilarityBackward, build: func(p *program) {
			x, labels := s.operands(p)
			p.SimilarityBackward(&graph.Op{Operands: []*graph.Value{x, labels}, Attr: graph.Attributes{Classes: s.classes}}, 0.99)
		}}, Case{Name: s.String(), Kind: graph.KindContrast, build: func(p *program) {
			x, labels := s.operands(p)
			p.Contrast(x, labels, 0.07)
		}}, Case{Name: s.String(), Kind: graph.KindContrastBackward, build: func(p *program) {
			x, labels := s.operands(p)
			logSum := p.input("log_sum", uniform(8, 12), s.n)
			p.ContrastBackward(&graph.Op{
				Operands: []*graph.Value{x, labels}, Results: []*graph.Value{nil, logSum}, Attr: graph.Attributes{Temperature: 0.07},
			}, 0.5)
		}})
	}
	return out
}

func similarityGradients() []GradientCase {
	var out []GradientCase
	for _, to := range [][2]int64{{11, 9}, {5, 4}, {1, 1}, {2, 7}} {
		out = append(out, GradientCase{fmt.Sprintf("upsample: 5x4 to %dx%d", to[0], to[1]), func(p *program) derivative {
			x := p.input("x", normal(0, 1), 2, 5, 4, 3)
			return pooled(p, x, p.Upsample(x, to[0], to[1]), p.UpsampleBackward)
		}})
	}
	out = append(out, GradientCase{"binary cross entropy", func(p *program) derivative {
		logits, images := p.input("logits", normal(0, 2), 2, 3, 4, 3), p.typed("images", graph.TypeU8, whole(256), 2, 3, 4, 3)
		loss := p.BinaryCrossEntropy(logits, images)
		op := p.last()
		d := derivative{forward: len(p.Ops()), result: loss, scale: 5}
		d.add(logits, p.BinaryCrossEntropyBackward(op, 5))
		return d
	}}, GradientCase{"deviation", func(p *program) derivative {
		x := p.input("x", normal(0.5, 1), 2, 3, 4, 5)
		return pooled(p, x, p.Deviation(x), p.DeviationBackward)
	}})
	for _, s := range []pairing{{6, 5, 3}, {9, 4, 2}, {4, 7, 10}} {
		out = append(out, GradientCase{"similarity: " + s.String(), func(p *program) derivative {
			x, labels := s.operands(p)
			loss := p.Similarity(x, labels, s.classes)
			op := p.last()
			d := derivative{forward: len(p.Ops()), result: loss, scale: 0.99}
			d.add(x, p.SimilarityBackward(op, 0.99))
			return d
		}}, GradientCase{"contrast: " + s.String(), func(p *program) derivative {
			x, labels := s.operands(p)
			loss, _ := p.Contrast(x, labels, 0.3)
			op := p.last()
			d := derivative{forward: len(p.Ops()), result: loss, scale: 2}
			d.add(x, p.ContrastBackward(op, 2))
			return d
		}})
	}
	return out
}
