package optest

import "github.com/localbench/localbench/core/graph"

func lossCases() []Case {
	var out []Case
	for _, s := range []struct {
		name           string
		batch, classes int64
		logits         fill
		scale          float64
	}{
		{"10 classes, batch 1", 1, 10, normal(0, 2), 1},
		{"10 classes, batch 7", 7, 10, normal(0, 2), 0.3},
		{"2 classes, batch 3", 3, 2, normal(0, 2), 1},
		{"17 classes, batch 33", 33, 17, normal(0, 2), 0.25},
		{"100 classes, batch 128", 128, 100, normal(0, 2), 1},
		{"1000 classes, batch 5", 5, 1000, normal(0, 2), 0.3},
		{"logits whose exponential overflows", 16, 10, normal(120, 20), 1},
		{"logits whose exponential is zero", 16, 10, normal(-150, 20), 1},
		{"ties: the first of equal logits is the prediction", 64, 10, whole(3), 1},
	} {
		labels := func(p *program) *graph.Value {
			return p.typed("labels", graph.TypeS32, whole(s.classes), s.batch)
		}
		forward := Case{Name: s.name, Kind: graph.KindCrossEntropy, build: func(p *program) {
			p.CrossEntropy(p.input("logits", s.logits, s.batch, s.classes), labels(p))
		}}
		backward := Case{Name: s.name, Kind: graph.KindCrossEntropyBackward, build: func(p *program) {
			probabilities := p.input("probabilities", uniform(0, 2/float64(s.classes)), s.batch, s.classes)
			p.CrossEntropyBackward(&graph.Op{
				Kind:     graph.KindCrossEntropy,
				Operands: []*graph.Value{nil, labels(p)},
				Results:  []*graph.Value{nil, nil, probabilities},
			}, s.scale)
		}}
		out = append(out, forward.inPlace()...)
		out = append(out, backward.inPlace()...)
	}
	return out
}
