package reference

import (
	"fmt"
	"math"

	"github.com/localbench/localbench/core/graph"
)

// crossEntropy computes, with l the logits of one sample and t its label,
//
//	p = exp(l - max l) / sum exp(l - max l)
//	loss = mean over the batch of log(sum exp(l - max l)) + max l - l[t]
//	correct = number of samples whose first largest logit is l[t], and all of whose are numbers
func crossEntropy(m *Machine, op *graph.Op) error {
	logits, labels := m.operand(op, 0), m.operand(op, 1)
	loss, correct, p := m.result(op, 0), m.result(op, 1), m.result(op, 2)
	classes := int(op.Operands[0].Shape[1])
	loss[0], correct[0] = 0, 0
	for n := range labels {
		label, err := labelOf(labels, n, classes)
		if err != nil {
			return err
		}
		l, p := logits[n*classes:(n+1)*classes], p[n*classes:(n+1)*classes]
		best, sum := firstMaximum(l), 0.0
		for k := range l {
			p[k] = math.Exp(l[k] - l[best])
			sum += p[k]
		}
		for k := range p {
			p[k] /= sum
		}
		loss[0] += (math.Log(sum) + l[best] - l[label]) / float64(len(labels))
		if best == label && !math.IsNaN(sum) {
			correct[0]++
		}
	}
	return nil
}

// crossEntropyBackward computes dlogits = scale * (p - onehot(label)) / N.
func crossEntropyBackward(m *Machine, op *graph.Op) error {
	p, labels, dlogits := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	classes := int(op.Operands[0].Shape[1])
	for n := range labels {
		label, err := labelOf(labels, n, classes)
		if err != nil {
			return err
		}
		for k := range classes {
			target := 0.0
			if k == label {
				target = 1
			}
			i := n*classes + k
			dlogits[i] = op.Attr.Scale * (p[i] - target) / float64(len(labels))
		}
	}
	return nil
}

// binaryCrossEntropy computes, with z a logit and t = image/255,
//
//	loss = mean of max(z, 0) - z*t + log(1 + exp(-|z|))
//
// which is -t*log(s) - (1-t)*log(1-s) with s = sigmoid(z).
func binaryCrossEntropy(m *Machine, op *graph.Op) error {
	logits, images, loss := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	loss[0] = 0
	for i, z := range logits {
		loss[0] += (max(z, 0) - z*images[i]/255 + math.Log1p(math.Exp(-math.Abs(z)))) / float64(len(logits))
	}
	return nil
}

func binaryCrossEntropyBackward(m *Machine, op *graph.Op) error {
	logits, images, d := m.operand(op, 0), m.operand(op, 1), m.result(op, 0)
	for i, z := range logits {
		d[i] = op.Attr.Scale * (1/(1+math.Exp(-z)) - images[i]/255) / float64(len(logits))
	}
	return nil
}

// labelOf returns the label of sample n, or an error if there is no such class.
func labelOf(labels []float64, n, classes int) (int, error) {
	label := int(labels[n])
	if float64(label) != labels[n] || label < 0 || label >= classes {
		return 0, fmt.Errorf("label %g of sample %d: must be an integer in 0..%d", labels[n], n, classes-1)
	}
	return label, nil
}

// firstMaximum returns the place of the first of the largest elements.
func firstMaximum(l []float64) int {
	best := 0
	for k := range l {
		if l[k] > l[best] {
			best = k
		}
	}
	return best
}
