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

// readMean reads the mean over height and width.
func readMean(c *converter, n *nodeText, o *op) string {
	o.kind, o.output = kindAdaptivePool, [2]int64{1, 1}
	a := n.arg("dim")
	keep, ok := n.flag("keepdim", false)
	if a == nil || !ok || len(c.sizes[o.in[0]]) != 3 {
		return "over other dimensions than height and width"
	}
	dims := slices.Clone(a.list())
	for i, d := range dims {
		if d < 0 {
			dims[i] = d + 4
		}
	}
	slices.Sort(dims)
	sizes := c.sizes[o.in[0]]
	if l := c.layoutOf(o.in[0]); slices.Equal(dims, []int64{1, 2}) && !keep && len(l.stored) == 3 && l.rows() { // of [N, H, W, C]
		o.settled, sizes, dims = true, l.stored, []int64{2, 3}
	}
	if !slices.Equal(dims, []int64{2, 3}) {
		return "over other dimensions than height and width"
	}
	if o.flattenedOutputs = !keep; !keep {
		o.layout = &layout{stored: []int64{sizes[0], 1, 1}}
		o.layout.axes = [][]part{slices.Concat(plainLayout(o.layout.stored).axes...)}
	}
	return ""
}
