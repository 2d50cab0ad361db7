package passes

import (
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// FuseNorm fuses, in a list of forward ops, normalisation + add + ReLU and normalisation + activation into the normalisation:
// one tensor is written instead of three. It runs before reverse mode, so what it removes is never saved.
func FuseNorm(ops []*graph.Op) []*graph.Op {
	f := fuser{users: countUsers(ops), maker: map[*graph.Value]*graph.Op{}}
	fused := map[*graph.Op]bool{}
	for _, op := range ops {
		maker := op
		if norm := f.fuse(op); norm != nil {
			fused[op], maker = true, norm
			norm.Results = op.Results
		}
		for _, r := range op.Results {
			f.maker[r] = maker
		}
	}
	return sorted(slices.DeleteFunc(slices.Clone(ops), func(op *graph.Op) bool { return fused[op] }))
}

// fuser is the state of FuseNorm.
type fuser struct {
	users map[*graph.Value]int       // number of ops that read the value
	maker map[*graph.Value]*graph.Op // of the values so far
}

// fuse makes the normalisation before op do what op does, and returns it; nil if op can't be fused.
func (f *fuser) fuse(op *graph.Op) *graph.Op {
	switch op.Kind {
	case graph.KindAdd:
		for side := range 2 {
			if norm := f.fusable(op.Operands[side]); norm != nil && norm.Operands[normResidual] == nil {
				norm.Operands[normResidual] = op.Operands[1-side]
				return norm
			}
		}
	case graph.KindReLU, graph.KindSiLU, graph.KindActivate:
		activation := op.Attr.Activation
		if op.Kind == graph.KindSiLU {
			activation = graph.ActivationSiLU
		}
		// After a sum only an activation whose gradient follows from its result can be fused.
		if norm := f.fusable(op.Operands[0]); norm != nil && activation.Fuses() &&
			(norm.Operands[normResidual] == nil || activation.Rectifies()) {
			norm.Attr.Activation = activation
			return norm
		}
	}
	return nil
}

// fusable returns the normalisation that makes v, if it has no activation yet and v has no other reader; else nil.
func (f *fuser) fusable(v *graph.Value) *graph.Op {
	norm := f.maker[v]
	if norm == nil || norm.Kind != graph.KindNormApply || norm.Attr.Activation != graph.ActivationNone || f.users[v] != 1 {
		return nil
	}
	return norm
}

// normResidual is the operand of norm_apply that is added.
const normResidual = 5

// sorted restores program order: a normalisation whose residual is made after it moves to just after the op that makes
// the residual.
func sorted(ops []*graph.Op) []*graph.Op {
	made := map[*graph.Value]bool{}
	for _, op := range ops {
		for _, r := range op.Results {
			made[r] = false
		}
	}
	out := make([]*graph.Op, 0, len(ops))
	waiting := map[*graph.Value][]*graph.Op{}
	var emit func(op *graph.Op)
	emit = func(op *graph.Op) {
		for _, v := range op.Operands {
			if done, inside := made[v]; inside && !done {
				waiting[v] = append(waiting[v], op)
				return
			}
		}
		out = append(out, op)
		for _, r := range op.Results {
			made[r] = true
			for _, w := range waiting[r] {
				emit(w)
			}
		}
	}
	for _, op := range ops {
		emit(op)
	}
	return out
}

// FuseGradientSum fuses add + norm_backward into a norm_backward that reads both gradients: at the border of a residual block
// the sum of the two branches is formed while it is read, which saves one write and two reads of it.
func FuseGradientSum(g *graph.Graph) {
	users := countUsers(g.Ops)
	sums := map[*graph.Value]*graph.Op{}
	dead := map[*graph.Op]bool{}
	for _, op := range g.Ops {
		if op.Kind == graph.KindAdd && op.Phase == graph.PhaseBackward && users[op.Results[0]] == 1 {
			sums[op.Results[0]] = op
		}
		if op.Kind != graph.KindNormBackward {
			continue
		}
		if sum := sums[op.Operands[graph.NormBackwardGradient]]; sum != nil {
			op.Operands[graph.NormBackwardGradient] = sum.Operands[0]
			op.Operands[graph.NormBackwardSecondGradient] = sum.Operands[1]
			dead[sum] = true
		}
	}
	g.Ops = slices.DeleteFunc(g.Ops, func(op *graph.Op) bool { return dead[op] })
}

// FuseNormInput removes normalisations whose results only convolutions and the gradients of their weights read: these
// normalise their input while they read it, and the normalised tensor does not exist, neither in the forward pass nor saved for
// the backward pass. The input of the normalisation is saved in any case, for its own backward op.
//
// A normalisation with a residual stays, and so does a result in keep, an output, and a result that another local module reads:
// its input would outlive the module that owns it.
func FuseNormInput(g *graph.Graph, keep map[*graph.Value]bool) {
	readers, updated := map[*graph.Value][]int{}, map[*graph.Value]int{}
	for i, op := range g.Ops {
		for _, v := range op.Operands {
			if v != nil {
				readers[v] = append(readers[v], i)
			}
		}
		for _, v := range op.Mutates() {
			updated[v] = i
		}
	}
	dead := map[*graph.Op]bool{}
	for _, norm := range g.Ops {
		if norm.Kind != graph.KindNormApply || norm.Operands[normResidual] != nil {
			continue
		}
		y, vectors := norm.Results[0], norm.Operands[1:normResidual]
		fits := len(readers[y]) > 0 && !keep[y] && !slices.Contains(g.Outputs, y)
		for _, i := range readers[y] {
			fits = fits && normalises(g.Ops[i], norm) && !slices.ContainsFunc(vectors, func(v *graph.Value) bool {
				at, ok := updated[v]
				return ok && at < i
			})
		}
		if !fits {
			continue
		}
		dead[norm] = true
		for _, i := range readers[y] {
			op := g.Ops[i]
			first, _ := op.Kind.NormInput()
			op.Operands[0] = norm.Operands[0]
			copy(op.Operands[first:], vectors)
			op.Attr.Activation, op.Attr.Epsilon = norm.Attr.Activation, norm.Attr.Epsilon
		}
	}
	g.Ops = slices.DeleteFunc(g.Ops, func(op *graph.Op) bool { return dead[op] })
}

// FuseNormStatistics removes norm_stats ops whose input a convolution of the same local module makes: the convolution computes
// the statistics, and updates the running ones. It runs after Recompute: a recomputed convolution then computes none. What needs
// to stay stays: statistics without running ones, and those of which another op reads or updates the running ones in between.
func FuseNormStatistics(g *graph.Graph) {
	maker, used := map[*graph.Value]int{}, map[*graph.Value]int{} // the last op so far
	dead := map[*graph.Op]bool{}
	for i, op := range g.Ops {
		if op.Kind == graph.KindNormStats {
			at, made := maker[op.Operands[0]]
			if made && computesStatistics(g.Ops[at], op) &&
				!slices.ContainsFunc(op.Operands[1:], func(v *graph.Value) bool { last, ok := used[v]; return ok && last > at }) {
				conv := g.Ops[at]
				copy(conv.Operands[graph.ConvRunning:], op.Operands[1:])
				conv.Attr.Momentum = op.Attr.Momentum
				conv.Results = append(conv.Results, op.Results...)
				dead[op] = true
			}
		}
		for _, v := range op.Operands {
			used[v] = i
		}
		for _, v := range op.Results {
			maker[v] = i
		}
	}
	g.Ops = slices.DeleteFunc(g.Ops, func(op *graph.Op) bool { return dead[op] })
}

// computesStatistics reports whether conv, which makes the input of stats, can compute these itself.
func computesStatistics(conv, stats *graph.Op) bool {
	return conv.Kind == graph.KindConv && !conv.ComputesStatistics() && conv.Module == stats.Module && conv.Phase == stats.Phase &&
		stats.Operands[1] != nil
}

// normalises reports whether op, which reads the result of a normalisation, can compute it itself: it is its input and nothing
// else, and both are of one local module.
func normalises(op, norm *graph.Op) bool {
	_, ok := op.Kind.NormInput()
	return ok && !op.NormalisesInput() && op.Module == norm.Module && op.Operands[0] == norm.Results[0] &&
		!slices.Contains(op.Operands[1:], norm.Results[0])
}

// countUsers counts, by value, the operands that it is.
func countUsers(ops []*graph.Op) map[*graph.Value]int {
	users := map[*graph.Value]int{}
	for _, op := range ops {
		for _, v := range op.Operands {
			users[v]++
		}
	}
	return users
}
