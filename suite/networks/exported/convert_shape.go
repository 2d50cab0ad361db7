package exported

import (
	"fmt"
	"math"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// movers read the ops that move elements without computing, by their names without overload and underscore. Unlike readers they
// say themselves what the results are: views of their operand, or slices of it.
var movers = map[string]func(c *converter, n *nodeText, o *op) error{
	"flatten": moveView, "view": moveView, "reshape": moveView, "_unsafe_view": moveView, "unflatten": moveView, "squeeze": moveView,
	"unsqueeze": moveView, "permute": movePermute, "transpose": movePermute, "channel_shuffle": moveShuffle,
	"pixel_shuffle": movePixels, "pixel_unshuffle": movePixels,
	"contiguous": moveCopy, "clone": moveCopy,
	"chunk": moveSplit, "split": moveSplit, "split_with_sizes": moveSplit, "slice": moveSlice, "narrow": moveSlice,
}

// shapeReaders read what joins tensors.
var shapeReaders = map[string]reader{"cat": readConcat, "concat": readConcat, "concatenate": readConcat}

// layoutOf is where the elements of a value are stored.
func (c *converter) layoutOf(v int) *layout {
	if l := c.layouts[v]; l != nil {
		return l
	}
	return plainLayout(c.sizes[v])
}

// standard returns the value that has the elements of v stored in its own shape.
func (c *converter) standard(v int, modules []module) int {
	l := c.layoutOf(v)
	if l.plain() {
		return v
	}
	if w, ok := c.moved[v]; ok {
		return w
	}
	o := &op{kind: kindPermute, in: []int{v}, modules: modules, layout: l}
	o.out = c.addValue(c.sizes[v], o)
	c.ops = append(c.ops, o)
	c.moved[v] = o.out
	return o.out
}

// settle gives an op operands that are stored as it reads them. Ops on elements read any layout, and keep it.
func (c *converter) settle(o *op) {
	if o.settled {
		return
	}
	l := c.layoutOf(o.in[0])
	keeps := false
	switch o.kind {
	case kindActivation:
		keeps = true
	case kindDropout: // draws its numbers in the order in which elements are stored
		keeps = true
	case kindAdd:
		keeps = l.equal(c.layoutOf(o.in[1]))
	case kindLinear:
		if l.flattened() {
			return
		}
	case kindNorm: // of [N C 1 1] stored as such
		keeps = l.flattened() && l.stored[0] == product(l.axes[0])
	}
	if keeps {
		o.layout = l
		return
	}
	for i, v := range o.in {
		o.in[i] = c.standard(v, o.modules)
	}
}

// operand is the value that a node moves the elements of. It is unknown, without an error, where an op that is not supported
// made it.
func (c *converter) operand(n *nodeText, o *op, name string) (int, error) {
	t := n.tensor("self")
	if t == "" {
		t = n.tensor("input")
	}
	if _, parameter := c.parameters[t]; parameter {
		c.refuse(name+" with a parameter or a constant", o.path())
		return unknown, nil
	}
	v, ok := c.bound[t]
	switch {
	case !ok:
		return 0, formatError("damaged graph: %s reads %q before it is computed", n.Target, t)
	case v != unknown && c.stale[v]:
		c.refuse(name+" of a tensor that was changed in place through a view of it", o.path())
		return unknown, nil
	}
	return v, nil
}

// alias binds the result of the node to a new value, a view of v with a layout.
func (c *converter) alias(n *nodeText, o *op, v int, l *layout) error {
	o.in, o.kind = []int{v}, kindView
	if l.flattened() && len(l.stored) > 1 {
		o.kind = kindFlatten
	}
	out, err := c.newValue(n.result(), o)
	if err != nil {
		return err
	}
	if len(l.axes) != len(c.sizes[out]) {
		return formatError("damaged graph: the shape of the tensor %q doesn't follow from its operand", n.result())
	}
	for i, axis := range l.axes {
		if product(axis) != c.sizes[out][i] {
			return formatError("damaged graph: the shape of the tensor %q doesn't follow from its operand", n.result())
		}
	}
	if o.out = out; !l.plain() {
		c.layouts[out] = l
	}
	c.ops = append(c.ops, o)
	c.isViewOf(out, v)
	return nil
}

// store binds the result of the node to a new value, the elements of v in the order of the layout, as the shape of the result
// has them.
func (c *converter) store(n *nodeText, o *op, v int, l *layout) error {
	o.kind, o.in, o.layout = kindPermute, []int{v}, l
	out, err := c.newValue(n.result(), o)
	if err != nil {
		return err
	}
	if !slices.EqualFunc(l.axes, c.sizes[out], func(axis []part, size int64) bool { return product(axis) == size }) {
		return formatError("damaged graph: the shape of the tensor %q doesn't follow from its operand", n.result())
	}
	o.out = out
	c.ops = append(c.ops, o)
	return nil
}

// isViewOf notes that the value out has the memory of v, in PyTorch.
func (c *converter) isViewOf(out, v int) {
	c.base[out] = v
	c.views[v] = append(c.views[v], out)
}

// moveView reads ops that give the elements other sizes, in the same order: the shape of the result tells.
func moveView(c *converter, n *nodeText, o *op) error {
	v, err := c.operand(n, o, n.name())
	if err != nil || v == unknown {
		return err
	}
	var sizes []int64
	for i, s := range c.tensors[n.result()].Sizes {
		if i > 0 {
			if s.Int == nil || *s.Int < 1 || *s.Int > maxExtent {
				return formatError("dimension %d of the tensor %s is symbolic; only the batch may be", i, n.result())
			}
			sizes = append(sizes, *s.Int)
		}
	}
	if slices.Equal(sizes, c.sizes[v]) {
		return c.same(n, n.tensor("self"))
	}
	l, ok := c.layoutOf(v).viewed(sizes)
	if !ok {
		c.refuse(n.name()+" to a shape that doesn't divide or join dimensions", o.path())
		return nil
	}
	if l.copied() && len(sizes) <= 3 {
		return c.store(n, o, v, l)
	}
	return c.alias(n, o, v, l)
}

// movePermute reads permutations of the dimensions after the batch.
func movePermute(c *converter, n *nodeText, o *op) error {
	v, err := c.operand(n, o, n.name())
	if err != nil || v == unknown {
		return err
	}
	rank := len(c.sizes[v]) + 1
	order := make([]int64, rank)
	for i := range order {
		order[i] = int64(i)
	}
	if n.name() == "transpose" {
		a, ok1 := n.dimension("dim0", rank)
		b, ok2 := n.dimension("dim1", rank)
		if !ok1 || !ok2 {
			return formatError("damaged graph: transpose of dimensions that the tensor %q doesn't have", n.tensor("self"))
		}
		order[a], order[b] = order[b], order[a]
	} else if a := n.arg("dims"); a != nil {
		order = slices.Clone(a.list())
	}
	seen := make([]bool, rank)
	for i, d := range order {
		if d < 0 {
			d += int64(rank)
		}
		if d < 0 || d >= int64(rank) || seen[d] || len(order) != rank {
			return formatError("damaged graph: permute of dimensions that the tensor %q doesn't have", n.tensor("self"))
		}
		order[i], seen[d] = d, true
	}
	if order[0] != 0 {
		c.refuse(n.name()+" of the batch", o.path())
		return nil
	}
	after := make([]int, 0, rank-1)
	for _, d := range order[1:] {
		after = append(after, int(d)-1)
	}
	return c.alias(n, o, v, c.layoutOf(v).permuted(after))
}

// moveShuffle reads the channel shuffle of a module: a view, a transposition and a view.
func moveShuffle(c *converter, n *nodeText, o *op) error {
	v, err := c.operand(n, o, n.name())
	if err != nil || v == unknown {
		return err
	}
	groups, ok := n.number("groups", 0)
	sizes := c.sizes[v]
	if !ok || !(groups >= 1) || len(sizes) < 2 || groups > float64(sizes[0]) || sizes[0]%int64(groups) != 0 {
		return formatError("damaged graph: channel_shuffle of %v in groups that don't divide its channels", sizes)
	}
	order := []int{1, 0}
	for i := range sizes[1:] {
		order = append(order, i+2)
	}
	return c.rearrange(n, o, v, slices.Concat([]int64{int64(groups), sizes[0] / int64(groups)}, sizes[1:]), order, sizes)
}

// movePixels reads what moves elements between channels and positions, a block of positions a pixel.
func movePixels(c *converter, n *nodeText, o *op) error {
	v, err := c.operand(n, o, n.name())
	if err != nil || v == unknown {
		return err
	}
	up, ok1 := n.number("upscale_factor", 1)
	down, ok2 := n.number("downscale_factor", 1)
	s := c.sizes[v]
	if !ok1 || !ok2 || !(up >= 1 && down >= 1 && up < 1<<16 && down < 1<<16) || len(s) != 3 {
		return formatError("damaged graph: %s of %v by factors that are not positive numbers", n.Target, s)
	}
	u, d := int64(up), int64(down)
	if s[0]%(u*u) != 0 || s[1]%d != 0 || s[2]%d != 0 {
		return formatError("damaged graph: %s of %v by a factor that doesn't divide its sizes", n.Target, s)
	}
	if n.name() == "pixel_shuffle" {
		sizes, result := []int64{s[0] / (u * u), u, u, s[1], s[2]}, []int64{s[0] / (u * u), s[1] * u, s[2] * u}
		return c.rearrange(n, o, v, sizes, []int{0, 3, 1, 4, 2}, result)
	}
	sizes, result := []int64{s[0], s[1] / d, d, s[2] / d, d}, []int64{s[0] * d * d, s[1] / d, s[2] / d}
	return c.rearrange(n, o, v, sizes, []int{0, 2, 4, 1, 3}, result)
}

// rearrange binds the result of the node to v read with sizes, its dimensions put into another order and read with the sizes of
// the result.
func (c *converter) rearrange(n *nodeText, o *op, v int, sizes []int64, order []int, result []int64) error {
	split, ok := c.layoutOf(v).viewed(sizes)
	if ok {
		split, ok = split.permuted(order).viewed(result)
	}
	if !ok {
		c.refuse(n.name()+" of a view", o.path())
		return nil
	}
	return c.store(n, o, v, split)
}

// moveCopy reads what stores a tensor again. The copy of one that is stored in its own shape is the tensor itself: but for
// clone, PyTorch copies nothing then.
func moveCopy(c *converter, n *nodeText, o *op) error {
	v, err := c.operand(n, o, n.name())
	if err != nil || v == unknown {
		return err
	}
	if n.name() == "contiguous" && c.layouts[v] == nil {
		return c.same(n, n.tensor("self"))
	}
	o.in, o.kind = []int{v}, kindView
	if o.out, err = c.newValue(n.result(), o); err != nil {
		return err
	}
	if c.layouts[v] != nil {
		c.layouts[o.out] = c.layouts[v]
	}
	c.ops = append(c.ops, o)
	return nil
}

// moveSplit reads what cuts a tensor into slices, one after the other: the shapes of the results tell which.
func moveSplit(c *converter, n *nodeText, o *op) error {
	v, err := c.operand(n, o, n.name())
	if err != nil || v == unknown {
		return err
	}
	dim, ok := n.dimension("dim", len(c.sizes[v])+1)
	if len(n.Outputs) != 1 || !ok {
		return formatError("damaged graph: %s with a dimension that the tensor %q doesn't have", n.Target, n.tensor("self"))
	}
	if dim == 0 {
		c.refuse(n.name()+" of the batch", o.path())
		return nil
	}
	from, all := int64(0), c.sizes[v][dim-1]
	for _, t := range n.Outputs[0].Tensors {
		sizes := c.tensors[t.Name].Sizes
		if len(sizes) != len(c.sizes[v])+1 || sizes[dim].Int == nil || *sizes[dim].Int < 1 || *sizes[dim].Int > all-from {
			return formatError("damaged graph: the slices of the tensor %q are more than the tensor", n.tensor("self"))
		}
		length := *sizes[dim].Int
		if length == all {
			c.bind(t.Name, v)
		} else if err := c.slice(t.Name, o.modules, v, dim-1, from, length); err != nil {
			return err
		}
		from += length
	}
	if from != all {
		return formatError("damaged graph: the slices of the tensor %q are less than the tensor", n.tensor("self"))
	}
	return nil
}

// moveSlice reads one slice, from a start to an end or of a length.
func moveSlice(c *converter, n *nodeText, o *op) error {
	v, err := c.operand(n, o, n.name())
	if err != nil || v == unknown {
		return err
	}
	rank := len(c.sizes[v]) + 1
	dim, ok1 := n.dimension("dim", rank)
	start, ok2 := n.number("start", 0)
	end, ok3 := n.number("end", math.MaxInt64)
	step, ok4 := n.number("step", 1)
	length, ok5 := n.number("length", 0)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		c.refuse(n.name()+" with arguments that are not numbers", o.path())
		return nil
	}
	if dim == 0 {
		if start == 0 && end >= 1<<40 && step == 1 && n.name() == "slice" {
			return c.same(n, n.tensor("self")) // all of the batch
		}
		c.refuse(n.name()+" of the batch", o.path())
		return nil
	}
	all := float64(c.sizes[v][dim-1])
	within := func(x float64) float64 {
		if x < 0 {
			x += all
		}
		return min(max(x, 0), all)
	}
	start, end = within(start), within(end)
	if n.name() == "narrow" {
		end = start + length
	}
	switch {
	case step != 1:
		c.refuse(n.name()+" with a step", o.path())
		return nil
	case !(start < end && end <= all) || start != math.Trunc(start) || end != math.Trunc(end):
		return formatError("damaged graph: %s of the elements %g to %g of %g", n.Target, start, end, all)
	case start == 0 && end == all:
		return c.same(n, n.tensor("self"))
	}
	return c.slice(n.result(), o.modules, v, dim-1, int64(start), int64(end-start))
}

// slice adds the op that copies a part of v.
func (c *converter) slice(name string, modules []module, v, dim int, from, length int64) error {
	x := c.standard(v, modules)
	o := &op{kind: kindSlice, modules: modules, in: []int{x}, dim: dim, from: from, length: length, extent: c.sizes[v][dim]}
	out, err := c.newValue(name, o)
	if err != nil {
		return err
	}
	want := slices.Clone(c.sizes[v])
	want[dim] = length
	if !slices.Equal(want, c.sizes[out]) {
		return formatError("damaged graph: the shape of the tensor %q doesn't follow from its operand", name)
	}
	o.out = out
	c.ops = append(c.ops, o)
	c.isViewOf(out, v)
	return nil
}

// overlap reports whether two values that have memory in common, in PyTorch, may have elements in common.
func (c *converter) overlap(v, w int) bool {
	a, b := c.maker[v], c.maker[w]
	if a == nil || b == nil || a.kind != kindSlice || b.kind != kindSlice || a.in[0] != b.in[0] || a.dim != b.dim {
		return true
	}
	return a.from < b.from+b.length && b.from < a.from+a.length
}

// readConcat reads the dimension that tensors are joined along.
func readConcat(c *converter, n *nodeText, o *op) string {
	o.kind = kindConcat
	first := c.sizes[o.in[0]]
	dim, ok := n.dimension("dim", len(first)+1)
	switch {
	case !ok:
		return "along a dimension that the tensors don't have"
	case dim == 0:
		return "of batches"
	}
	o.dim = dim - 1
	for _, v := range o.in {
		s := slices.Clone(c.sizes[v])
		if len(s) == len(first) {
			s[o.dim] = first[o.dim]
		}
		if !slices.Equal(s, first) {
			return "of tensors of different shapes"
		}
	}
	return ""
}

// writeSlice writes a part of x along the op's dimension. Where an auxiliary network has more or fewer channels than the file,
// its bounds are in proportion, so that slices that make up the whole still do.
func (o *op) writeSlice(b *graph.Builder, x *graph.Value) *graph.Value {
	axis := axisOf(o.dim, len(x.Shape)-1)
	from, to, extent := o.from, o.from+o.length, x.Shape[axis]
	if extent != o.extent {
		if o.dim > 0 || !o.rebuilt {
			b.Fail(fmt.Errorf("the slice in module %q is of a dimension of %d, which is %d here: "+
				"export the network for images of this size", o.path(), o.extent, extent))
			return x
		}
		from, to = from*extent/o.extent, to*extent/o.extent
	}
	return b.Slice(x, axis, from, to-from, nil)
}
