package exported

import (
	"slices"
	"strings"
)

// poolReaders read ops that reduce height and width.
var poolReaders = map[string]reader{
	"max_pool2d": readPool, "avg_pool2d": readPool, "adaptive_avg_pool2d": readAdaptivePool, "mean": readMean,
}

func readPool(c *converter, n *nodeText, o *op) string {
	o.kind = kindMaxPool
	average := strings.Contains(n.Target, "avg_pool2d")
	if len(c.sizes[o.in[0]]) != 3 {
		return "of something else than a map [N, C, H, W]"
	}
	var ok1, ok2, ok3 bool
	o.pool.Kernel, ok1 = n.pair("kernel_size", [2]int64{})
	o.pool.Stride, ok2 = n.pair("stride", o.pool.Kernel)
	o.pool.Padding, ok3 = n.pair("padding", [2]int64{})
	dilation, ok4 := n.pair("dilation", [2]int64{1, 1})
	ceil, ok5 := n.flag("ceil_mode", false)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return "with arguments that are not numbers"
	}
	o.pool.CeilSize = ceil
	switch {
	case dilation != [2]int64{1, 1}:
		return "with dilation"
	case !average:
		return ""
	case n.arg("divisor_override") != nil:
		return "with a divisor of its own"
	}
	o.kind = kindAveragePool
	var ok bool
	if o.pool.CountPadding, ok = n.flag("count_include_pad", true); !ok {
		return "with arguments that are not numbers"
	}
	return ""
}

func readAdaptivePool(c *converter, n *nodeText, o *op) string {
	o.kind = kindAdaptivePool
	var ok bool
	if o.output, ok = n.pair("output_size", [2]int64{}); !ok || o.output[0] < 1 || o.output[1] < 1 || len(c.sizes[o.in[0]]) != 3 {
		return "to another shape than [N, C, H, W]"
	}
	return ""
}

// readMean reads the mean over dimensions after the batch: a global average pool over height and width. Other dimensions are read
// as the height of a map, whose channels are those that stay.
func readMean(c *converter, n *nodeText, o *op) string {
	o.kind, o.output = kindAdaptivePool, [2]int64{1, 1}
	a := n.arg("dim")
	keep, ok := n.flag("keepdim", false)
	v := o.in[0]
	rank := len(c.sizes[v]) + 1
	if a == nil || !ok || n.arg("dtype") != nil {
		return "over all dimensions, or with arguments of other types"
	}
	reduced := make([]bool, rank)
	for _, d := range a.list() {
		if d < 0 {
			d += int64(rank)
		}
		if d < 1 || d >= int64(rank) || reduced[d] {
			return "over the batch, or over dimensions that the tensor doesn't have"
		}
		reduced[d] = true
	}
	sizes := c.sizes[v]
	l := c.layoutOf(v)
	switch {
	case rank == 4 && !keep && reduced[1] && reduced[2] && !reduced[3] && len(l.stored) == 3 && l.rows(): // of [N, H, W, C]
		o.settled, sizes = true, l.stored
	case rank != 4 || reduced[1] || !reduced[2] || !reduced[3]:
		return c.readMeanOver(o, v, reduced[1:], keep)
	}
	if o.flattenedOutputs = !keep; !keep {
		o.layout = &layout{stored: []int64{sizes[0], 1, 1}}
		o.layout.axes = [][]part{slices.Concat(plainLayout(o.layout.stored).axes...)}
	}
	return ""
}

// readMeanOver reads the mean of v over the dimensions after the batch that are reduced.
func (c *converter) readMeanOver(o *op, v int, reduced []bool, keep bool) string {
	l, order, result := c.layoutOf(v), []int{}, []int64{}
	channels, height := int64(1), int64(1)
	for d, size := range c.sizes[v] {
		switch {
		case !reduced[d]:
			order, channels, result = append(order, d), channels*size, append(result, size)
		case keep:
			result = append(result, 1)
		}
	}
	for d, size := range c.sizes[v] {
		if reduced[d] {
			order, height = append(order, d), height*size
		}
	}
	from, ok1 := l.permuted(order).viewed([]int64{channels, height, 1})
	pooled := plainLayout([]int64{channels, 1, 1})
	pooled.axes = [][]part{slices.Concat(pooled.axes...)}
	to, ok2 := pooled.viewed(result)
	if !ok1 || !ok2 || len(result) == 0 || len(order) == 0 || height == 1 && channels == 1 {
		return "over all dimensions but the batch"
	}
	view := &op{kind: kindView, in: []int{v}, modules: o.modules}
	view.out = c.addValue([]int64{channels, height, 1}, view)
	if !from.plain() {
		c.layouts[view.out] = from
	}
	c.ops = append(c.ops, view)
	o.in[0], o.layout = view.out, to
	return ""
}
