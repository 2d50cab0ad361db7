package optest

import (
	"fmt"
	"math"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// Mismatch is the worst element of a comparison that failed.
type Mismatch struct {
	Index     int     // of the element
	Got, Want float64 // of that element
	Limit     float64 // the largest difference allowed there
	Count     int     // elements beyond their limit
	Elements  int     // of the value
}

// Error names the worst element and how many there are.
func (m *Mismatch) Error() string {
	return fmt.Sprintf("element %d: got %.9g, want %.9g, differs by %.3g, allowed %.3g (%d of %d elements differ by "+
		"more than allowed)", m.Index, m.Got, m.Want, math.Abs(m.Got-m.Want), m.Limit, m.Count, m.Elements)
}

// Compare compares a float32 result with the reference. Element i may differ by
//
//	tolerance * max(|want[i]|, root mean square of want)
//
// The root mean square is needed because a sum that happens to be small has the
// rounding errors of its terms, not of its value. Tolerance 0 requires equal
// numbers. NaN never agrees. The error is a *Mismatch, unless the lengths differ.
func Compare(got []float32, want []float64, tolerance float64) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d elements: must be %d", len(got), len(want))
	}
	scale := rootMeanSquare(want)
	worst, excess := Mismatch{Elements: len(want)}, 0.0
	for i := range want {
		limit := tolerance * max(math.Abs(want[i]), scale)
		difference := math.Abs(float64(got[i]) - want[i])
		if difference <= limit {
			continue
		}
		worst.Count++
		by := difference - limit
		if math.IsNaN(by) {
			by = math.Inf(1)
		}
		if worst.Count == 1 || by > excess {
			excess = by
			worst.Index, worst.Got, worst.Want, worst.Limit = i, float64(got[i]), want[i], limit
		}
	}
	if worst.Count > 0 {
		return &worst
	}
	return nil
}

func rootMeanSquare(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum / float64(max(len(x), 1)))
}

// unitRoundoff is half the distance of 1 to the next float32.
const unitRoundoff = 1.0 / (1 << 24)

// Tolerance is what a float32 kernel may differ by in v, a result of op or an
// operand it updates: 0 where it only chooses or copies, else
//
//	8 * unitRoundoff * sqrt(length)
//
// with the number of terms that are added for one element. Reason: adding k
// terms of random sign one after the other gives a sum of about sqrt(k) terms
// and k roundings of partial sums of up to that size, so the error grows as
// sqrt(k) relative to the sum; a tree or blocks do better. Terms of one sign
// give the same rate. The factor is for the largest of many elements, the
// rounding of products, and functions of the math library. Cases keep means and
// deviations of one size, so nothing cancels by more than that.
//
// A result in bf16 may also be a neighbour of the correct one, if the number before
// rounding is close to a tie. If a kernel rounds twice it may be two off.
//
// It does not hold for kernels that round operands to fewer bits (TF32) or change
// the algorithm (Winograd): their tests have wider tolerances.
func Tolerance(op *graph.Op, v *graph.Value) float64 {
	count := terms(op, slices.Index(op.Results, v))
	tolerance := 8 * unitRoundoff * math.Sqrt(float64(count))
	if ofRounded := op.ComputesStatistics() || op.Attr.InputSums; count > 0 &&
		(v.Type == graph.TypeBF16 || ofRounded && op.Results[0].Type == graph.TypeBF16) {
		tolerance += roundings(op) * neighbour // of the elements that statistics are of, too
	}
	return tolerance
}

// neighbour is the largest distance of two neighbours of bf16, relative to them.
const neighbour = 1.0 / (1 << 7)

// roundings is how often a kernel may round to bf16 on the way to a result: a bias may
// be added to what has been stored.
func roundings(op *graph.Op) float64 {
	if (op.Kind == graph.KindConv || op.Kind == graph.KindLinear) && op.Operands[2] != nil {
		return 2
	}
	return 1
}

// terms counts the terms of one element of a result, 0 if it is exact. Result
// -1 is an operand that the op updates.
func terms(op *graph.Op, result int) int64 {
	operand := func(i int) graph.Shape { return op.Operands[i].Shape }
	switch op.Kind {
	case graph.KindReLU, graph.KindReLUBackward, graph.KindDetach, graph.KindMaxPool, graph.KindAugment, graph.KindCast,
		graph.KindConcat, graph.KindPermute, graph.KindReshape, graph.KindQuantize, graph.KindDequantize:
		return 0
	case graph.KindSlice, graph.KindSliceBackward:
		if op.Operands[1] == nil {
			return 0
		}
		return 1
	case graph.KindAdd, graph.KindDropout:
		return 1
	case graph.KindNormalizeImage, graph.KindCrossEntropyBackward, graph.KindSGD, graph.KindAverage:
		return 4 // a few roundings, no sum
	case graph.KindAdam, graph.KindRMSprop, graph.KindAdagrad:
		return 8 // the same
	case graph.KindNormApply, graph.KindSiLU, graph.KindSiLUBackward, graph.KindActivate, graph.KindActivateBackward:
		return 8 // the same
	case graph.KindGate, graph.KindScale:
		return 8 // the same
	case graph.KindScaleBackward:
		if result == 0 {
			return 8
		}
		return operand(1).Elements()/operand(2).Elements() + 8
	case graph.KindLayerNorm:
		return operand(1).Elements() + 8
	case graph.KindLayerNormBackward:
		if result == 0 {
			return 2*operand(2).Elements() + 8
		}
		return operand(1).Elements()/operand(2).Elements() + operand(2).Elements() + 8
	case graph.KindGateBackward:
		if result == 0 {
			return 8
		}
		return operand(1)[1]*operand(1)[2] + 8
	case graph.KindConv:
		w, y := operand(1), op.Results[0].Shape
		products := w[1]*w[2]*w[3] + 1 + ofInput(op)
		if result != 0 { // the statistics of y
			return products + y.Elements()/y[3] + 4
		}
		return products
	case graph.KindConvBackwardData:
		w := operand(1)
		return w[0] / op.Attr.Groups * w[1] * w[2]
	case graph.KindConvBackwardWeights:
		return operand(1).Elements()/operand(1)[3] + ofInput(op)
	case graph.KindLinear:
		return operand(1)[1] + 1
	case graph.KindLinearBackwardData:
		return operand(1)[0]
	case graph.KindLinearBackwardWeights:
		return operand(1).Elements() / op.Results[0].Shape[0]
	case graph.KindNormStats:
		return operand(0).Elements()/op.Results[0].Shape.Elements() + 4
	case graph.KindNormBackward:
		if result == 3 {
			return 1 // dy + dy2
		}
		return operand(1).Elements()/op.Results[1].Shape.Elements() + 8
	case graph.KindNormBackwardSums:
		if result == graph.NormSumsResidual {
			return 1 // dy + dy2
		}
		return operand(1).Elements()/op.Results[0].Shape.Elements() + 8
	case graph.KindConvNormBackward: // besides the products the few roundings of the gradient of y
		w, y := operand(1), operand(3)
		products := w[0]/op.Attr.Groups*w[1]*w[2] + 8
		switch {
		case result == 0:
			return products
		case result > 1: // sums over dx
			return products + operand(0).Elements()/operand(0)[3] + 8
		}
		return y.Elements()/y[3] + 8 + ofInput(op)
	case graph.KindMaxPoolBackward, graph.KindAveragePoolBackward:
		return overlap(op.Attr, 0) * overlap(op.Attr, 1)
	case graph.KindAveragePool:
		return op.Attr.Kernel[0] * op.Attr.Kernel[1]
	case graph.KindAdaptiveAveragePool:
		return operand(0)[1] * operand(0)[2]
	case graph.KindAdaptiveAveragePoolBackward:
		return operand(0)[1] * operand(0)[2]
	case graph.KindCrossEntropy:
		switch result {
		case 0: // the loss: a sum over classes, then one over the batch
			return operand(0)[0] + operand(0)[1] + 8
		case 1: // a count
			return 0
		}
		return operand(0)[1] + 8
	case graph.KindUpsample:
		return 4 + 8
	case graph.KindUpsampleBackward:
		y, x := operand(0), op.Results[0].Shape
		return (2*y[1]/x[1]+2)*(2*y[2]/x[2]+2) + 8
	case graph.KindBinaryCrossEntropy:
		return operand(0).Elements() + 8
	case graph.KindBinaryCrossEntropyBackward:
		return 16
	case graph.KindDeviation, graph.KindDeviationBackward:
		x := operand(0)
		if op.Kind == graph.KindDeviationBackward {
			x = operand(1)
		}
		return x[1]*x[2] + 8
	case graph.KindSimilarity, graph.KindSimilarityBackward:
		return operand(0)[0] + operand(0)[1] + 16
	case graph.KindContrast, graph.KindContrastBackward:
		// An exponent of up to 1/temperature has the rounding errors of its size. With half of this an H200 exceeded the tolerance
		// by 4 % in one of 3,180 elements: CUDA's expf may err by 1 ulp, that of the C library errs by little more than half of one.
		steep := int64(8 / (op.Attr.Temperature * op.Attr.Temperature))
		return operand(0)[0] + operand(0)[1] + steep
	}
	return 0
}

// ofInput is the few roundings, no sum, of an input that the op normalises.
func ofInput(op *graph.Op) int64 {
	if op.NormalisesInput() {
		return 8
	}
	return 0
}

// overlap bounds the windows that see one row (0) or column (1) of the input.
func overlap(a graph.Attributes, direction int) int64 {
	return (a.Kernel[direction] + a.Stride[direction] - 1) / a.Stride[direction]
}
