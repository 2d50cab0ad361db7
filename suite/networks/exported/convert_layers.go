package exported

import "strings"

// layerReaders read convolutions and linear layers.
var layerReaders = map[string]reader{"conv2d": readConv, "linear": readLinear}

// parameter returns the name in the model of a parameter or a buffer of a layer, and its shape.
func (c *converter) parameter(n *nodeText, argument, role string) (layer string, shape []int64, ok bool) {
	t := n.tensor(argument)
	full, ok := c.parameters[t]
	if !ok {
		if full, ok = c.buffers[t]; !ok {
			return "", nil, false
		}
	}
	layer, ok = strings.CutSuffix(full, "."+role)
	if !ok {
		return "", nil, false
	}
	c.used[full] = true
	meta := c.tensors[t]
	for _, s := range meta.Sizes {
		if s.Int == nil || *s.Int < 1 || *s.Int > maxExtent {
			return "", nil, false
		}
		shape = append(shape, *s.Int)
	}
	return layer, shape, meta.Type == typeFloat32
}

// layerOf reads weight and bias of a layer: both must have the same layer's name, and be read by no other layer.
func (c *converter) layerOf(n *nodeText, o *op, rank int, bias bool) (shape []int64, why string) {
	layer, shape, ok := c.parameter(n, "weight", "weight")
	if !ok || len(shape) != rank {
		return nil, "with a weight that is no float32 parameter .weight of its own"
	}
	if o.layer, o.width = layer, shape[0]; rank == 1 && c.layers[layer] > 0 {
		return nil, "that runs more than once, or shares its parameters with another"
	}
	c.layers[layer]++
	if n.tensor("bias") == "" {
		if bias {
			return nil, "without a bias"
		}
		return shape, ""
	}
	o.bias = true
	if layer, b, ok := c.parameter(n, "bias", "bias"); !ok || layer != o.layer || len(b) != 1 || b[0] != o.width {
		return nil, "with a bias that is no float32 parameter .bias of its own"
	}
	return shape, ""
}

func readConv(c *converter, n *nodeText, o *op) string {
	o.kind = kindConv
	shape, why := c.layerOf(n, o, 4, false)
	if why != "" {
		return why
	}
	o.kernel = [2]int64{shape[2], shape[3]}
	stride, ok1 := n.pair("stride", [2]int64{1, 1})
	padding, ok2 := n.pair("padding", [2]int64{})
	dilation, ok3 := n.pair("dilation", [2]int64{1, 1})
	groups, ok4 := n.number("groups", 1)
	switch {
	case !ok1 || !ok2 || !ok3 || !ok4 || groups < 1 || groups > float64(o.width) || stride[0] < 1:
		return "with arguments that are not numbers"
	case dilation[0] < 1:
		return "with arguments that are not numbers"
	case stride[0] != stride[1] || padding[0] != padding[1] || dilation[0] != dilation[1]:
		return "with different strides, paddings or dilations in height and width"
	}
	o.stride, o.padding, o.dilation, o.groups = stride[0], padding[0], dilation[0], int64(groups)
	o.inputs = shape[1] * o.groups
	if in := c.sizes[o.in[0]]; len(in) != 3 || in[0] != o.inputs {
		return "of something else than a map [N, C, H, W]"
	}
	return ""
}

func readLinear(c *converter, n *nodeText, o *op) string {
	o.kind = kindLinear
	shape, why := c.layerOf(n, o, 2, false)
	if why != "" {
		return why
	}
	o.inputs = shape[1]
	in := c.sizes[o.in[0]]
	if len(in) == 1 && in[0] == o.inputs {
		return ""
	}
	l, ok := c.rowsOf(o)
	if !ok || in[len(in)-1] != o.inputs {
		return "of another dimension than the channels"
	}
	o.rows, o.layout, o.settled = true, l.resized(o.width), true
	return ""
}

// rowsOf is the layout of the operand of o, an op on the elements of the last dimension. They have to be rows of the stored
// tensor, as the channels of a map are after it was permuted to [N, H, W, C]. A tensor of another number of dimensions than a map
// is stored so that they are.
func (c *converter) rowsOf(o *op) (l *layout, ok bool) {
	if l = c.layoutOf(o.in[0]); !l.rows() && len(l.axes) != 3 {
		o.in[0] = c.standard(o.in[0], o.modules)
		l = c.layoutOf(o.in[0])
	}
	return l, l.rows()
}
