package exported

import (
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// AugLocal's auxiliary networks are made of units like those of the network, for another number of channels and another stride.
// block makes them from the ops of a unit, by these rules (docs/methods.md has them in words):
//
//   - Convolutions keep their number of output channels, but a depthwise one has as many as its input times what it had,
//     one whose result a depthwise one reads (an expansion) has its old ratio to its input, and so has the squeeze of
//     squeeze-and-excitation; its second convolution has the channels of the map that is scaled.
//   - A linear layer of channels keeps its number of outputs; normalisations and layer scales follow their operand.
//   - Groups are as many as before, or the largest divisor of that number that divides the input's channels.
//   - Pools and all strides of more than 1 are left out. A stride of 2 is that of the convolution that had it, else
//     of the first one over more than 1x1, else of the first.
//   - Slices of channels have bounds in proportion to the channels, concatenations as many channels as their operands together,
//     and shuffles as many groups as before, or the largest divisor of that number that divides the channels.
//   - Where a unit joins or slices channels and has the stride that is asked for, all of its strides stay, for they are on each
//     of the paths that are joined. If not, a stride of 2 is that of a 3x3 max pool of the unit's input.
//   - A sum with the input of the unit, or with a projection of it (1x1 convolutions, normalisations, pools), is one with the
//     input where that has the shape of the other operand. Where not, it is one with a 1x1 convolution of the input, normalised,
//     if the network has such projections; if it has none, as MobileNetV2, the sum is left out, with its stochastic depth.

// noRebuild says why block can't rewrite a unit, empty if it can rewrite all.
func noRebuild(units []unit) string {
	for _, u := range units {
		for _, o := range u.ops {
			switch o.kind {
			case kindLinear, kindFlatten:
				if !o.rows {
					return fmt.Sprintf("unit %s has a linear layer or flattened features (module %q)", u.place, o.path())
				}
			case kindPermute: // of channels alone
				for i, axis := range o.layout.axes {
					if slices.ContainsFunc(axis, func(p part) bool { return p.dim != i }) || len(o.layout.stored) != 3 {
						return fmt.Sprintf("unit %s moves elements between channels, height and width (module %q)", u.place, o.path())
					}
				}
			case kindConcat, kindSlice:
				if o.dim > 0 {
					return fmt.Sprintf("unit %s joins or slices along another dimension than the channels (module %q)", u.place, o.path())
				}
			}
		}
	}
	if len(units) < 2 {
		return "the network is a single unit"
	}
	return ""
}

// shortcut returns the ops that only project the input of the unit for a sum; nil and true if the sum reads the input itself.
func (u *unit) shortcut(sum *op) (projection []*op, ok bool) {
	v := sum.in[1]
	for v != u.in {
		at := slices.IndexFunc(u.ops, func(o *op) bool { return o.out == v })
		if at < 0 {
			return nil, false
		}
		o := u.ops[at]
		if u.reads(v) != 1 {
			return nil, false // something else reads the projection
		}
		pointwise := o.kind == kindConv && o.kernel == [2]int64{1, 1}
		if !pointwise && o.kind != kindNorm && o.kind != kindAveragePool && o.kind != kindMaxPool {
			return nil, false
		}
		projection = append(projection, o)
		v = o.in[0]
	}
	return projection, sum.in[0] != v
}

// reads is how many ops of the unit read a value.
func (u *unit) reads(v int) (n int) {
	for _, o := range u.ops {
		if slices.Contains(o.in, v) {
			n++
		}
	}
	return n
}

// projects says whether a unit of the network projects its input for a sum.
func projects(units []unit) bool {
	for _, u := range units {
		for _, o := range u.ops {
			if o.kind != kindAdd {
				continue
			}
			if projection, ok := u.shortcut(o); ok && len(projection) > 0 {
				return true
			}
		}
	}
	return false
}

// blocks returns model.Network.Block for the units, nil if there can be none.
func (p *program) blocks(units []unit) func(string, model.Unit, int64) model.Unit {
	if noRebuild(units) != "" {
		return nil
	}
	project := projects(units)
	return func(name string, like model.Unit, stride int64) model.Unit {
		u := units[slices.IndexFunc(units, func(u unit) bool { return u.place == like.Place })]
		return model.Unit{Name: name, Width: like.Width, Forward: func(b *graph.Builder, x *graph.Value) *graph.Value {
			if b.Err() != nil {
				return x
			}
			r := p.rebuilt(u, model.Channels(x), stride, project)
			return p.forward(r)(b, x)
		}}
	}
}

// rebuilt is the unit for an input of the given channels, and for the stride.
func (p *program) rebuilt(u unit, inputs, stride int64, project bool) unit {
	strided := u.strided()
	widths := map[int]int64{u.in: inputs}
	replaced := map[int]int{} // a value and the one that replaces it
	keeps := false            // the unit's own strides
	r := unit{in: u.in, name: u.name}
	if u.joins() {
		strided, keeps = nil, stride > 1 && u.stride() == stride
		if stride > 1 && !keeps {
			pool := graph.PoolOptions{Kernel: [2]int64{3, 3}, Stride: [2]int64{stride, stride}, Padding: [2]int64{1, 1}}
			r.ops = append(r.ops, &op{kind: kindMaxPool, in: []int{u.in}, out: pooled, pool: pool})
			replaced[u.in], widths[pooled], stride = pooled, inputs, 1
		}
	}
	left := map[*op]bool{}
	for _, o := range u.ops {
		if o.kind == kindAdd {
			if projection, ok := u.shortcut(o); ok {
				for _, q := range projection {
					left[q] = true
				}
			}
		}
	}
	for _, original := range u.ops {
		if left[original] {
			continue
		}
		o := *original
		o.rebuilt, o.in = true, slices.Clone(o.in)
		for i, v := range o.in {
			if w, ok := replaced[v]; ok {
				o.in[i] = w
			}
		}
		widths[o.out] = widths[o.in[0]]
		switch o.kind {
		case kindMaxPool, kindAveragePool:
			if o.pool.Stride != [2]int64{1, 1} && !keeps {
				replaced[o.out] = o.in[0]
				continue
			}
		case kindNorm, kindLayerNorm, kindScale:
			o.inputs, o.width = widths[o.in[0]], widths[o.in[0]]
		case kindLinear:
			o.inputs = widths[o.in[0]]
			widths[o.out] = o.width
		case kindConv:
			p.resize(u, original, &o, widths)
			switch {
			case keeps:
			case original == strided:
				o.stride = stride
			default:
				o.stride = 1
			}
			widths[o.out] = o.width
		case kindConcat:
			widths[o.out] = 0
			for _, v := range o.in {
				widths[o.out] += widths[v]
			}
		case kindSlice:
			in := widths[o.in[0]]
			widths[o.out] = (o.from+o.length)*in/o.extent - o.from*in/o.extent
		case kindAdd:
			_, ok := u.shortcut(original)
			switch {
			case !ok:
			case stride == 1 && widths[o.in[0]] == inputs:
				o.in[1] = r.source()
			case project:
				o.in[1] = r.project(p, original, inputs, widths[o.in[0]], stride)
			default:
				replaced[o.out] = r.withoutDepth(o.in[0])
				continue
			}
		}
		r.ops = append(r.ops, &o)
	}
	r.out = u.out
	if v, ok := replaced[u.out]; ok {
		r.out = v
	}
	return r
}

// pooled is the value of the input of a unit after a pool that is not in the file.
const pooled = -1

// source is the input of a unit that is rebuilt, after such a pool.
func (r *unit) source() int {
	if len(r.ops) > 0 && r.ops[0].out == pooled {
		return pooled
	}
	return r.in
}

// joins reports whether the unit joins tensors, or slices them.
func (u *unit) joins() bool {
	return slices.ContainsFunc(u.ops, func(o *op) bool { return o.kind == kindConcat || o.kind == kindSlice })
}

// stride is the product of the strides between the input of the unit and its result.
func (u *unit) stride() int64 {
	strides := map[int]int64{u.in: 1}
	for _, o := range u.ops {
		s := strides[o.in[0]]
		switch o.kind {
		case kindConv:
			s *= o.stride
		case kindMaxPool, kindAveragePool:
			s *= max(o.pool.Stride[0], 1)
		}
		strides[o.out] = s
	}
	return strides[u.out]
}

// withoutDepth removes stochastic depth if it makes the value v: the sum whose branch it would drop is left out. It returns the
// value that replaces v.
func (r *unit) withoutDepth(v int) int {
	at := slices.IndexFunc(r.ops, func(o *op) bool { return o.out == v })
	if at < 0 || r.ops[at].kind != kindDropout || !r.ops[at].rows {
		return v
	}
	v = r.ops[at].in[0]
	r.ops = slices.Delete(r.ops, at, at+1)
	return v
}

// resize sets the channels of the convolution o, a copy of original, by those of its operand.
func (p *program) resize(u unit, original, o *op, widths map[int]int64) {
	in := widths[o.in[0]]
	readers := func(v int) (out []*op) {
		for _, q := range u.ops {
			if slices.Contains(q.in, v) {
				out = append(out, q)
			}
		}
		return out
	}
	depthwise := func(q *op) bool { return q.kind == kindConv && q.groups == q.inputs && q.groups > 1 }
	expands, squeezes := false, slices.ContainsFunc(u.ops, func(q *op) bool { // what is pooled to one pixel
		return q.out == original.in[0] && q.kind == kindAdaptivePool && q.output == [2]int64{1, 1}
	})
	v := original.out
	for range u.ops { // along the activations and normalisations after the convolution
		next := readers(v)
		if len(next) == 0 {
			break
		}
		q := next[0]
		if q.kind == kindGate && q.in[1] == v && q.in[0] != v {
			o.width, expands, squeezes = widths[q.in[0]], false, false
			break
		}
		expands = expands || depthwise(q) && !squeezes
		if q.kind == kindConv || q.kind == kindAdd || q.kind == kindGate {
			break
		}
		v = q.out
	}
	switch {
	case depthwise(original):
		o.groups, o.width = in, in*(original.width/original.inputs)
	case (expands && original.width%original.inputs == 0) || squeezes:
		o.width = max(original.width*in/original.inputs, 1)
	}
	if !depthwise(original) && in != original.inputs {
		o.groups = gcd(original.groups, in)
	}
	o.inputs = in
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// strided is the convolution that takes the stride of a unit: the one that has one, else the first over more than 1x1, else the
// first. Those of shortcuts do not count.
func (u *unit) strided() *op {
	left := map[*op]bool{}
	for _, o := range u.ops {
		if o.kind == kindAdd {
			projection, _ := u.shortcut(o)
			for _, q := range projection {
				left[q] = true
			}
		}
	}
	var first, spatial *op
	for _, o := range u.ops {
		if o.kind != kindConv || left[o] {
			continue
		}
		if o.stride > 1 {
			return o
		}
		if first == nil {
			first = o
		}
		if spatial == nil && o.kernel[0]*o.kernel[1] > 1 {
			spatial = o
		}
	}
	if spatial != nil {
		return spatial
	}
	return first
}

// project adds a 1x1 convolution of the unit's input and its normalisation before the unit's other ops, for a sum; it returns the
// value of the result.
func (r *unit) project(p *program, sum *op, inputs, width, stride int64) int {
	path := fmt.Sprintf("shortcut%d", len(r.ops))
	first := 0
	if r.source() == pooled {
		first = 1
	}
	conv := &op{kind: kindConv, in: []int{r.source()}, out: -2 * (sum.out + 1), layer: path + ".0", inputs: inputs, width: width,
		kernel: [2]int64{1, 1}, stride: stride, groups: 1}
	norm := &op{kind: kindNorm, in: []int{conv.out}, out: conv.out - 1, layer: path + ".1", inputs: width, width: width,
		momentum: model.NormMomentum, eps: model.NormEpsilon}
	r.ops = slices.Insert(r.ops, first, conv, norm)
	return norm.out
}
