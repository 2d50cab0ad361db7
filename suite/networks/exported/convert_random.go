package exported

import "math"

// randomReaders read dropout; the ops of stochastic depth are read in converter.random.
var randomReaders = map[string]reader{
	"dropout": readDropout, "empty": readNothing, "bernoulli": readNothing, "div": readNothing,
}

func readNothing(*converter, *nodeText, *op) string { return "" }

// noise is a tensor [N 1 1 1] that is 1/keep with the probability keep, else 0.
type noise struct {
	keep   float64 // 0: not drawn yet
	scaled bool
}

// random reads the nodes of stochastic depth: empty [N 1 1 1], bernoulli_, div_, and the product.
func (c *converter) random(name string, n *nodeText, o *op) (done bool, err error) {
	draw := c.noise[n.tensor("self")]
	switch name {
	case "empty":
		sizes := []int64(nil)
		if a := n.arg("size"); a != nil {
			sizes = a.list()
		}
		if len(sizes) != 4 || sizes[0] != c.batch || sizes[1] != 1 || sizes[2] != 1 || sizes[3] != 1 {
			c.refuse("empty of another shape than the [N, 1, 1, 1] of stochastic depth", o.path())
			return true, nil
		}
		c.noise[n.result()] = &noise{}
		return true, nil
	case "bernoulli", "div":
		key := map[string]string{"bernoulli": "p", "div": "other"}[name]
		p, ok := n.number(key, map[string]float64{"bernoulli": 0.5, "div": math.NaN()}[name]) // the default of p is 0.5
		switch {
		case draw == nil || !ok:
			c.refuse(name+" other than in stochastic depth", o.path())
			return true, nil
		case name == "bernoulli" && p > 0 && p <= 1:
			draw.keep = p
		case name == "div" && p == draw.keep:
			draw.scaled = true
		default:
			c.refuse(name+" by another number than in stochastic depth", o.path())
			return true, nil
		}
		c.noise[n.result()] = draw
		return true, nil
	case "mul":
		x := n.tensor("self")
		if draw == nil {
			draw = c.noise[n.tensor("other")]
		} else {
			x = n.tensor("other")
		}
		if draw == nil {
			return false, nil
		}
		v, ok := c.bound[x]
		switch {
		case ok && v == unknown:
			return true, nil
		case !ok || !draw.scaled:
			c.refuse("mul by random numbers other than in stochastic depth", o.path())
			return true, nil
		case draw.keep == 1:
			c.bind(n.result(), v)
			return true, nil
		}
		o.kind, o.in, o.rows = kindDropout, []int{v}, true
		o.rate = math.Round((1-draw.keep)*1e12) / 1e12
		return true, c.add(n, o)
	}
	return false, nil
}

func readDropout(_ *converter, n *nodeText, o *op) string {
	o.kind = kindDropout
	p, ok1 := n.number("p", 0.5)
	training, ok2 := n.flag("train", false)
	switch {
	case !ok2 || !training:
		return evaluation
	case !ok1 || !(p >= 0 && p < 1):
		return "with a rate outside of 0 to 1"
	}
	o.rate = p
	return ""
}
