package graph

import (
	"errors"
	"fmt"
	"math"
)

// Optimizer writes the update of a parameter into a training step. The options of each optimizer implement it; the
// formulas are PyTorch's (torch.optim), with state of zero at the start.
type Optimizer interface {
	// Update declares the optimizer's state for the parameter w and adds its update, in place, from the gradient g, f32 or
	// bf16, and the run-time learning rate lr [1].
	Update(b *Builder, w, g, lr *Value)
}

// SGDOptions are the constants of stochastic gradient descent.
type SGDOptions struct {
	Momentum    float64 // 0.9 in the papers' recipes; 0: no state
	WeightDecay float64 // 1e-4 in the papers' recipes, on every parameter
	Nesterov    bool
}

// AdamOptions are the constants of Adam and AdamW.
type AdamOptions struct {
	Beta1, Beta2 float64 // in [0, 1); PyTorch's: 0.9 and 0.999
	Epsilon      float64 // at least 0; PyTorch's: 1e-8
	WeightDecay  float64
	Decoupled    bool // AdamW: the decay is not part of the gradient
}

// RMSpropOptions are the constants of RMSprop, not centred.
type RMSpropOptions struct {
	Alpha       float64 // in [0, 1); PyTorch's: 0.99
	Epsilon     float64 // at least 0; PyTorch's: 1e-8
	Momentum    float64 // 0: no buffer
	WeightDecay float64
}

// AdagradOptions are the constants of Adagrad, without decay of the learning rate.
type AdagradOptions struct {
	Epsilon     float64 // at least 0; PyTorch's: 1e-10
	WeightDecay float64
}

// SGD adds one update of the parameter w and its momentum v in place, from the
// gradient g, f32 or bf16, and the run-time learning rate lr [1], all else f32:
//
//	g += weightDecay*w;  v = momentum*v + g;  w -= lr * (g + momentum*v)   with Nesterov
//	                                          w -= lr * v                  without
//
// With v zero at the start this is what the common frameworks do. Without momentum v may be nil: w -= lr * g.
func (b *Builder) SGD(w, g, v, lr *Value, o SGDOptions) {
	b.add(KindSGD, Attributes{Momentum: o.Momentum, WeightDecay: o.WeightDecay, Nesterov: o.Nesterov}, w, g, v, lr)
}

// Adam adds one update of the parameter w and its averages m and v in place, from the gradient g, f32 or bf16, the run-time
// learning rate lr [1] and the input stream (Builder.Stream), whose step, counted from 0, is t-1:
//
//	w -= lr*weightDecay*w   if decoupled, else   g += weightDecay*w
//	m = beta1*m + (1-beta1)*g;  v = beta2*v + (1-beta2)*g*g
//	w -= lr/(1-beta1^t) * m / (sqrt(v)/sqrt(1-beta2^t) + epsilon)
//
// The powers are computed in double precision.
func (b *Builder) Adam(w, g, m, v, lr, stream *Value, o AdamOptions) {
	b.add(KindAdam, Attributes{Beta1: o.Beta1, Beta2: o.Beta2, Epsilon: o.Epsilon, WeightDecay: o.WeightDecay,
		Decoupled: o.Decoupled}, w, g, m, v, lr, stream)
}

// RMSprop adds one update of the parameter w, its average of squares v and, with momentum, its buffer in place, from the
// gradient g, f32 or bf16, and the run-time learning rate lr [1]:
//
//	g += weightDecay*w;  v = alpha*v + (1-alpha)*g*g;  d = g / (sqrt(v) + epsilon)
//	w -= lr * d                                      without momentum: buffer is nil
//	buffer = momentum*buffer + d;  w -= lr * buffer  with
func (b *Builder) RMSprop(w, g, v, lr, buffer *Value, o RMSpropOptions) {
	b.add(KindRMSprop, Attributes{Beta2: o.Alpha, Epsilon: o.Epsilon, Momentum: o.Momentum, WeightDecay: o.WeightDecay},
		w, g, v, lr, buffer)
}

// Adagrad adds one update of the parameter w and its sum of squares in place, from the gradient g, f32 or bf16, and the
// run-time learning rate lr [1]:
//
//	g += weightDecay*w;  sum += g*g;  w -= lr * g / (sqrt(sum) + epsilon)
func (b *Builder) Adagrad(w, g, sum, lr *Value, o AdagradOptions) {
	b.add(KindAdagrad, Attributes{Epsilon: o.Epsilon, WeightDecay: o.WeightDecay}, w, g, sum, lr)
}

// Update implements Optimizer. The state of a parameter is its momentum; without momentum there is none.
func (o SGDOptions) Update(b *Builder, w, g, lr *Value) {
	var v *Value
	if o.Momentum != 0 {
		v = b.Momentum(w)
	}
	b.SGD(w, g, v, lr, o)
}

// Update implements Optimizer. The state of a parameter is exp_avg and exp_avg_sq; the number of the step is an input of
// the program.
func (o AdamOptions) Update(b *Builder, w, g, lr *Value) {
	b.Adam(w, g, b.OptimizerState(w, "exp_avg"), b.OptimizerState(w, "exp_avg_sq"), lr, b.Stream(), o)
}

// Update implements Optimizer. The state of a parameter is square_avg and, with momentum, momentum_buffer.
func (o RMSpropOptions) Update(b *Builder, w, g, lr *Value) {
	v := b.OptimizerState(w, "square_avg")
	var buffer *Value
	if o.Momentum != 0 {
		buffer = b.OptimizerState(w, "momentum_buffer")
	}
	b.RMSprop(w, g, v, lr, buffer, o)
}

// Update implements Optimizer. The state of a parameter is the sum of its squared gradients.
func (o AdagradOptions) Update(b *Builder, w, g, lr *Value) {
	b.Adagrad(w, g, b.OptimizerState(w, "sum"), lr, o)
}

// Average moves the state a towards the source s in place, both f32 of one shape:
// a = momentum*a + (1-momentum)*s, an exponential moving average over steps.
func (b *Builder) Average(a, s *Value, momentum float64) {
	b.add(KindAverage, Attributes{Momentum: momentum}, a, s)
}

// updateRoles are, for the kinds that update a parameter, the roles of the operands: parameter and gradient, then state and
// inputs.
var updateRoles = map[Kind][]string{
	KindSGD:     {"w", "g", "v?", "lr"},
	KindAdam:    {"w", "g", "m", "v", "lr", "stream"},
	KindRMSprop: {"w", "g", "v", "lr", "buffer?"},
	KindAdagrad: {"w", "g", "sum", "lr"},
}

// Updates reports whether ops of the kind update a parameter (operand 0) by its gradient (operand 1).
func (k Kind) Updates() bool { return updateRoles[k] != nil }

func updateRule(k Kind) rule {
	if k == KindAverage {
		return rule{operands: []string{"average", "source"}, mutates: []int{0},
			results: func(op *Op) ([]resultType, error) { return nil, wantShape(op.Operands[0].Shape, op.Operands[1]) }}
	}
	roles := updateRoles[k]
	inputs := map[string]Shape{"lr": {1}, "stream": {3}}
	mutates := []int{0}
	for i := 2; i < len(roles); i++ {
		if inputs[roles[i]] == nil {
			mutates = append(mutates, i)
		}
	}
	return rule{operands: roles, mutates: mutates, results: func(op *Op) ([]resultType, error) {
		for i, v := range op.Operands {
			want := inputs[roles[i]]
			if want == nil {
				want = op.Operands[0].Shape
			}
			if err := wantShape(want, v); err != nil {
				return nil, err
			}
		}
		return nil, checkUpdate(op)
	}}
}

// checkUpdate checks the constants of an update, and that there is state for the momentum.
func checkUpdate(op *Op) error {
	a := op.Attr
	for _, c := range []struct {
		name   string
		value  float64
		decays bool // so it is less than 1
	}{{"momentum", a.Momentum, true}, {"weight decay", a.WeightDecay, false}, {"epsilon", a.Epsilon, false},
		{"beta1", a.Beta1, true}, {"beta2 or alpha", a.Beta2, true}} {
		if !(c.value >= 0) || math.IsInf(c.value, 1) || c.decays && c.value >= 1 {
			limit := ""
			if c.decays {
				limit = " and less than 1"
			}
			return fmt.Errorf("%s %g: must be at least 0%s", c.name, c.value, limit)
		}
	}
	switch {
	case op.Kind == KindSGD && a.Momentum != 0 && op.Operands[2] == nil:
		return errors.New("momentum without state for it")
	case op.Kind == KindRMSprop && (a.Momentum != 0) != (op.Operands[4] != nil):
		return errors.New("needs a momentum and its buffer, or neither")
	}
	return nil
}
