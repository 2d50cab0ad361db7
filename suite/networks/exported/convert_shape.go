package exported

// shapeReaders read ops that move elements without computing.
var shapeReaders = map[string]reader{"flatten": readFlatten, "view": readFlatten, "reshape": readFlatten}

// readFlatten reads what makes [N, C*H*W] of [N, C, H, W], however it is written: the shape of the result tells.
func readFlatten(c *converter, n *nodeText, o *op) string {
	o.kind = kindFlatten
	in, elements := c.sizes[o.in[0]], int64(1)
	for _, d := range in {
		elements *= d
	}
	to := c.tensors[n.result()].Sizes
	if len(to) != 2 || to[1].Int == nil || *to[1].Int != elements || len(in) != 1 && len(in) != 3 {
		return "other than of [N, C, H, W] to [N, C*H*W]"
	}
	return ""
}
