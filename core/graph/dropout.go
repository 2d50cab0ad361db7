package graph

import (
	"fmt"
	"strings"
)

// Dropout drops elements at random, or whole samples, which is stochastic depth:
//
//	y[i] = x[i] / (1 - rate) where number k of the op's stream is at least the rate, else 0
//
// with k = i, the place of the element in the program's order, or with Rows the number of the
// sample. The numbers are those of core/rng, in [0, 1): number k is stream k%4 of the block
// (seed, dropout, step, salt << 32 | k/4). Seed and step are the run-time input stream, s32 [3]: the
// low and the high 32 bits of the seed, and the step. The salt is the FNV-1a hash of the op's scope in
// 32 bits, "features.2.1.stochastic_depth", so it does not depend on the method.
//
// No mask is stored: the gradient is the same op applied to the gradient, which draws the
// numbers again, as do copies of the op that recompute its result. x and y have the same shape, f32 or bf16,
// at most 2^34 elements. In place: y may alias x.

// DropoutOptions say what is dropped.
type DropoutOptions struct {
	Rate float64 // the share, more than 0 and less than 1
	Rows bool    // whole samples: one number for each
}

// Dropout adds the dropout of x. Two in one scope would draw the same numbers: an error.
func (b *Builder) Dropout(x, stream *Value, o DropoutOptions) *Value {
	scope := strings.Join(b.path, ".")
	salt := uint32(NameSalt(scope))
	if other, ok := b.salts[salt]; ok {
		b.Fail(fmt.Errorf("dropout: scopes %q and %q draw the same numbers: rename one, so that the hashes of the names differ",
			other, scope))
	}
	b.salts[salt] = scope
	return b.first(KindDropout, Attributes{Rate: o.Rate, Rows: o.Rows, Salt: int64(salt)}, x, stream)
}

// DropoutBackward adds the gradient of the op dropout: the same of dy.
func (b *Builder) DropoutBackward(dropout *Op, dy *Value) *Value {
	return b.first(KindDropout, dropout.Attr, dy, dropout.Operands[1])
}

// EnableDropout makes DropoutStream return a stream in a training step.
func (b *Builder) EnableDropout() { b.drops = b.training }

// DropoutStream returns the input that determines what a step drops: Stream. It returns nil in an evaluation and where
// dropout is not enabled.
func (b *Builder) DropoutStream() *Value {
	if !b.drops {
		return nil
	}
	return b.Stream()
}

// Stream returns the input of seed and step, s32 [3], and declares it at the first call: the low and the high 32 bits of
// the seed, and the number of the step, from 0.
func (b *Builder) Stream() *Value {
	if v := b.DeclaredStream(); v != nil {
		return v
	}
	return b.Input(StreamInput, Shape{3}, TypeS32)
}

// DeclaredStream returns the input that Stream has declared, nil if it was not called.
func (b *Builder) DeclaredStream() *Value { return b.graph.Input(StreamInput) }

// StreamInput is the name of the input that Stream declares.
const StreamInput = "step_stream"

// mostDropout is how many elements have numbers: 2^32 blocks of four.
const mostDropout = 1 << 34

func dropoutRule() rule {
	return rule{operands: []string{"x", "stream"}, inPlace: []Pair{{0, 0}}, results: func(op *Op) ([]resultType, error) {
		x, rate := op.Operands[0], op.Attr.Rate
		if !(rate > 0 && rate < 1) {
			return nil, fmt.Errorf("rate %g: must be more than 0 and less than 1", rate)
		}
		if len(x.Shape) == 0 || x.Shape.Elements() > mostDropout {
			return nil, fmt.Errorf("dropout of %s: must be a batch of at most 2^34 elements", x)
		}
		category := CategoryActivation
		if op.Phase == PhaseBackward {
			category = CategoryGradient
		}
		return []resultType{{"y", x.Shape, x.Type, category}}, wantShape(Shape{3}, op.Operands[1])
	}}
}
