package passes

import (
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// FuseNormGradient has the backward pass of a convolution, and of the normalisation that reads its result, in two ops
// (core/graph/convnorm.go), so that the gradient of the convolution's result does not exist. It replaces a norm_backward whose
// gradient of x only the two backward ops of one convolution read, which has no bias. A norm_backward with a second gradient
// stays, unless it stores the sum of both as the gradient of a residual.
// Where such a convolution normalises its input, it also gives what norm_backward_sums gives of that normalisation, if the
// gradient that it makes is all that comes in there.
//
// It runs when element types, stored and recomputed values are final: it needs the convolution's result only where
// norm_backward read it.
func FuseNormGradient(g *graph.Graph) {
	readers, outputs := map[*graph.Value][]int{}, map[*graph.Value]bool{}
	made := map[*graph.Value]int{} // the op that makes it; 0 if no op does
	for i, op := range g.Ops {
		for _, v := range op.Operands {
			if v != nil {
				readers[v] = append(readers[v], i)
			}
		}
		for _, v := range op.Results {
			made[v] = i
		}
	}
	for _, v := range g.Outputs {
		outputs[v] = true
	}
	dead := map[*graph.Op]bool{}
	for _, norm := range g.Ops {
		if norm.Kind != graph.KindNormBackward || outputs[norm.Results[0]] {
			continue
		}
		data, weights := convolutionOf(g, norm, readers[norm.Results[0]])
		if data == nil {
			continue
		}
		// The combined op takes the place of the first of the two, or if x of the convolution is not there yet, that of the second.
		first, second := made[data.Results[0]], made[weights.Results[0]]
		if first > second {
			first, second = second, first
		}
		place := first
		if slices.ContainsFunc(slices.Concat(weights.Operands, data.Operands), func(v *graph.Value) bool { return made[v] > first }) {
			place = second
			if slices.ContainsFunc(slices.Concat(readers[data.Results[0]], readers[weights.Results[0]]),
				func(i int) bool { return i < second }) {
				continue
			}
		}
		op := g.Ops[place]
		other := data
		if op == data {
			other = weights
		}
		dead[other] = true
		combine(g, norm, op, data, weights)
	}
	g.Ops = slices.DeleteFunc(g.Ops, func(op *graph.Op) bool { return dead[op] })
	sumInputs(g)
	DropUnused(g)
}

// sumInputs replaces each norm_backward_sums of the input of a conv_norm_backward by results of this.
func sumInputs(g *graph.Graph) {
	maker := map[*graph.Value]*graph.Op{}
	g.Ops = slices.DeleteFunc(g.Ops, func(op *graph.Op) bool {
		conv := maker[op.Operands[0]]
		if op.Kind == graph.KindNormBackwardSums && conv != nil && sumsInput(conv, op) {
			conv.Results = append(conv.Results, op.Results...)
			conv.Attr.InputSums = true
			return true
		}
		if op.Kind == graph.KindConvNormBackward {
			maker[op.Results[0]] = op
		}
		return false
	})
}

// sumsInput reports whether conv, which makes the incoming gradient of sums, normalises the same input in the same way.
func sumsInput(conv, sums *graph.Op) bool {
	input, _ := conv.Kind.NormInput()
	return conv.NormalisesInput() && !conv.Attr.InputSums && conv.Module == sums.Module &&
		conv.Operands[0] == sums.Operands[1] && slices.Equal(conv.Operands[input:input+4], sums.Operands[2:6]) &&
		sums.Operands[graph.NormBackwardResult] == nil && sums.Operands[graph.NormBackwardSecondGradient] == nil &&
		conv.Attr.Activation == sums.Attr.Activation && conv.Attr.Epsilon == sums.Attr.Epsilon
}

// convolutionOf returns the backward ops of a convolution, the only readers of the gradient of x that norm gives; nil if they
// are others, or must stay.
func convolutionOf(g *graph.Graph, norm *graph.Op, readers []int) (data, weights *graph.Op) {
	z, second := norm.Operands[graph.NormBackwardResult], norm.Operands[graph.NormBackwardSecondGradient]
	if len(readers) != 2 || z == nil && second != nil {
		return nil, nil
	}
	for _, i := range readers {
		switch op := g.Ops[i]; op.Kind {
		case graph.KindConvBackwardData:
			data = op
		case graph.KindConvBackwardWeights:
			weights = op
		}
	}
	if data == nil || weights == nil || weights.Operands[1] != norm.Results[0] || weights.Attr.Bias ||
		data.Forward != weights.Forward || data.Module != norm.Module || weights.Module != norm.Module {
		return nil, nil
	}
	return data, weights
}

// combine makes norm a norm_backward_sums, and op, which is data or weights, the backward pass of their convolution.
func combine(g *graph.Graph, norm, op, data, weights *graph.Op) {
	dy, y, gradient := norm.Operands[0], norm.Operands[1], norm.Results[0]
	activation := norm.Attr.Activation
	coefficients := &graph.Value{ID: len(g.Values), Name: gradient.Name + " coefficients", Scope: gradient.Scope,
		Module: gradient.Module, Shape: graph.Shape{graph.Coefficients, y.Shape[len(y.Shape)-1]}, Type: graph.TypeF32,
		Category: graph.CategoryGradient}
	g.Values = append(g.Values, coefficients)
	norm.Kind = graph.KindNormBackwardSums
	norm.Results = slices.Concat(norm.Results[1:3], []*graph.Value{coefficients}, norm.Results[3:])
	if len(norm.Results) > graph.NormSumsResidual {
		dy, activation = norm.Results[graph.NormSumsResidual], graph.ActivationNone
	}
	attr, operands := weights.Attr, []*graph.Value{weights.Operands[0], data.Operands[1], dy, y, coefficients}
	attr.Input, attr.Following = data.Attr.Input, activation
	input, _ := weights.Kind.NormInput()
	operands = append(operands, weights.Operands[input:]...)
	results := []*graph.Value{data.Results[0], weights.Results[0]}
	op.Kind, op.Attr, op.Operands, op.Results = graph.KindConvNormBackward, attr, operands, results
}
