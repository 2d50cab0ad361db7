package exported

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/localbench/localbench/core/graph"
)

// kind is what an op of a network does.
type kind uint8

const (
	kindConv kind = iota
	kindNorm
	kindLinear
	kindLayerNorm // of rows, the channels of a map
	kindActivation
	kindMaxPool
	kindAveragePool
	kindAdaptivePool
	kindAdd
	kindGate    // in[0] scaled by an activation of in[1]
	kindScale   // channels scaled by a parameter
	kindDropout // of elements, or with rows of samples
	kindFlatten // of a map to features: the linear layer that follows reads the map
	kindView    // another view of a tensor, whose elements stay where they are
	kindPermute // stores the elements of a view in the order that its shape has
	kindConcat
	kindSlice
)

// op is one op of a network, in the file's order. Values are numbered; 0 is the image.
type op struct {
	kind    kind
	in      []int
	out     int
	modules []module // the modules that it ran in, the network first
	layer   string   // of a layer with parameters: their common name, "layer1.0.conv1"

	width, inputs    int64 // of a layer: channels or features of the result and of the input
	kernel           [2]int64
	stride, padding  int64
	groups, dilation int64
	activation       graph.Activation // kindActivation, kindGate: of the factor
	parameter        string           // kindScale: the name of the parameter in its module
	shape            []int64          // kindScale: the shape of the parameter
	bias             bool
	momentum, eps    float64
	pool             graph.PoolOptions
	output           [2]int64 // kindAdaptivePool
	rate             float64
	rows             bool
	flattenedOutputs bool    // the result has two dimensions in PyTorch
	rebuilt          bool    // for an auxiliary network of AugLocal
	shared           bool    // its layer is that of another op, too
	settled          bool    // its reader chose operands and layout
	layout           *layout // kindPermute: of the operand; of ops on elements: of operand and result

	dim                  int   // kindConcat, kindSlice: the dimension after the batch, channels first
	from, length, extent int64 // kindSlice: where it begins, how long it is, and the extent of the whole
}

// path is the module that the op ran in: "layer1.0.conv1", empty for the network.
func (o *op) path() string {
	if len(o.modules) == 0 {
		return ""
	}
	return o.modules[len(o.modules)-1].path
}

// program is the network of a file as a list of ops.
type program struct {
	ops      []*op
	image    [3]int64 // channels, height and width of the exported input
	classes  int64
	result   int // the value of the logits
	drops    bool
	sizes    [][]int64       // of each value, without the batch, channels first
	maker    []*op           // of each value; nil for the image
	lastUses []int           // of each value: the position of the last op that reads it
	layouts  map[int]*layout // of values that are not stored in their own shape
}

// converter turns the nodes of a graph into ops.
type converter struct {
	program
	tensors     map[string]tensorMeta
	bound       map[string]int    // the value that a tensor's name stands for now
	names       map[int][]string  // the names that may stand for a value
	base        map[int]int       // a view or a slice, and the value that it is one of
	views       map[int][]int     // and the other way round
	stale       map[int]bool      // values that were changed through a view
	moved       map[int]int       // a value with a layout, and the one that is stored in its own shape
	parameters  map[string]string // names in the model, by names in the graph
	used        map[string]bool   // parameters
	layers      map[string]int    // how many ops have the parameters of a layer
	buffers     map[string]string
	noise       map[string]*noise // random tensors of stochastic depth
	batch       int64             // 0: symbolic
	unsupported map[string]*UnsupportedOp
}

// evaluation is what a reader returns for a layer that was exported after .eval().
const evaluation = "in evaluation mode"

// unknown is the value of an op that is not supported.
const unknown = -1

// convert reads the graph of d. Its errors are *FormatError and *UnsupportedError, without a path.
func convert(d *document) (*program, error) {
	g := &d.Module.Graph
	if err := attention(g); err != nil {
		return nil, err
	}
	c := &converter{tensors: g.Tensors, bound: map[string]int{}, names: map[int][]string{}, base: map[int]int{},
		views: map[int][]int{}, stale: map[int]bool{}, moved: map[int]int{},
		parameters: map[string]string{}, used: map[string]bool{}, layers: map[string]int{},
		buffers: map[string]string{}, noise: map[string]*noise{},
		unsupported: map[string]*UnsupportedOp{}}
	c.layouts = map[int]*layout{}
	if err := c.signature(&d.Module.Signature); err != nil {
		return nil, err
	}
	for i := range g.Nodes {
		if err := c.node(&g.Nodes[i]); err != nil {
			return nil, err
		}
	}
	if len(c.unsupported) > 0 {
		list := slices.SortedFunc(maps.Values(c.unsupported), func(a, b *UnsupportedOp) int {
			return cmp.Or(b.Count-a.Count, strings.Compare(a.Op, b.Op))
		})
		e := &UnsupportedError{}
		for _, o := range list {
			e.Ops = append(e.Ops, *o)
		}
		return nil, e
	}
	return c.finish(&d.Module.Signature)
}

// signature reads what goes into the graph.
func (c *converter) signature(s *signature) error {
	var images []string
	for _, in := range s.Inputs {
		switch {
		case in.Parameter != nil:
			c.parameters[in.Parameter.Arg.Name] = in.Parameter.Name
		case in.Buffer != nil:
			c.buffers[in.Buffer.Arg.Name] = in.Buffer.Name
		case in.User != nil && in.User.Arg.Tensor != nil:
			images = append(images, in.User.Arg.Tensor.Name)
		default:
			return formatError("the network takes an input that is not a tensor; it must take one batch of images [N, C, H, W]")
		}
	}
	if len(images) != 1 {
		return formatError("the network takes %d tensors; it must take one batch of images [N, C, H, W]", len(images))
	}
	meta, ok := c.tensors[images[0]]
	if !ok || len(meta.Sizes) != 4 || meta.Type != typeFloat32 {
		return formatError("the network's input %s is not a batch of float32 images [N, C, H, W]", images[0])
	}
	if n := meta.Sizes[0].Int; n != nil {
		c.batch = *n
	}
	v, err := c.newValue(images[0], nil)
	if err != nil {
		return err
	}
	c.image = [3]int64(c.sizes[v])
	return nil
}

func formatError(format string, arguments ...any) error {
	return &FormatError{Reason: fmt.Sprintf(format, arguments...), Export: true}
}

// maxExtent bounds every extent and every number of elements of a sample in a file.
const maxExtent = 1 << 40

// newValue makes the value of the tensor of a name.
func (c *converter) newValue(name string, o *op) (int, error) {
	meta, ok := c.tensors[name]
	if !ok || len(meta.Sizes) == 0 {
		return 0, formatError("damaged graph: the shape of the tensor %q is missing", name)
	}
	var sizes []int64
	elements := int64(1)
	for i, s := range meta.Sizes {
		switch {
		case i == 0 && (s.Int == nil) != (c.batch == 0), i == 0 && s.Int != nil && *s.Int != c.batch:
			return 0, formatError("the first dimension of the tensor %s is not the batch: ops that change the batch are not supported",
				name)
		case i == 0:
			continue
		case s.Int == nil:
			return 0, formatError("dimension %d of the tensor %s is symbolic; only the batch may be", i, name)
		case *s.Int < 1 || *s.Int > maxExtent/elements:
			return 0, formatError("damaged graph: dimension %d of the tensor %s is %d", i, name, *s.Int)
		}
		elements *= *s.Int
		sizes = append(sizes, *s.Int)
	}
	v := c.addValue(sizes, o)
	c.bind(name, v)
	return v, nil
}

// addValue makes a value without a name.
func (c *converter) addValue(sizes []int64, o *op) int {
	c.sizes, c.maker = append(c.sizes, sizes), append(c.maker, o)
	return len(c.sizes) - 1
}

// bind lets a name stand for a value.
func (c *converter) bind(name string, v int) {
	c.bound[name] = v
	c.names[v] = append(c.names[v], name)
}

// refuse counts something that is not supported.
func (c *converter) refuse(what, path string) {
	if c.unsupported[what] == nil {
		c.unsupported[what] = &UnsupportedOp{Op: what, Module: path}
	}
	c.unsupported[what].Count++
}

// skipped are ops that change nothing, by their names without the overload.
var skipped = []string{"sym_size", "_assert_tensor_metadata", "alias"}

// node reads one node.
func (c *converter) node(n *nodeText) error {
	target := strings.TrimPrefix(n.Target, "torch.ops.aten.")
	name, _, _ := strings.Cut(target, ".")
	name, inPlace := strings.CutSuffix(name, "_")
	o := &op{modules: n.stack()}
	for _, r := range n.Outputs { // until the op turns out to be supported
		if r.Tensor != nil {
			c.bound[r.Tensor.Name] = unknown
		}
		for _, t := range r.Tensors {
			c.bound[t.Name] = unknown
		}
	}
	if target == n.Target && name != "sym_size" {
		c.refuse(n.Target, o.path())
		return nil
	}
	read, known := readers[name]
	move, moves := movers[name]
	switch {
	case slices.Contains(skipped, name):
		if t := n.tensor("self"); t != "" && n.result() != "" {
			return c.same(n, t)
		}
		return nil
	case moves && !inPlace:
		return move(c, n, o)
	case !known:
		c.refuse(strings.TrimSuffix(target, ".default"), o.path())
		return nil
	}
	if name == "add" && c.counter(n) {
		return nil
	}
	if done, err := c.random(name, n, o); done || err != nil {
		return err
	}
	var operands []string
	for _, in := range []string{"self", "input"} {
		if t := n.tensor(in); t != "" {
			operands = append(operands, t)
		}
	}
	if name == "add" || name == "mul" {
		operands = append(operands, n.tensor("other"))
	}
	if side := c.factor(name, operands); side >= 0 {
		operands, read = slices.Delete(operands, side, side+1), readScale
	}
	if a := n.arg("tensors"); a != nil {
		for _, t := range a.Tensors {
			operands = append(operands, t.Name)
		}
	}
	for _, t := range operands {
		if _, parameter := c.parameters[t]; parameter || t == "" {
			c.refuse(name+" with a parameter or a constant", o.path())
			return nil
		}
		v, ok := c.bound[t]
		switch {
		case !ok:
			return formatError("damaged graph: %s reads %q before it is computed", n.Target, t)
		case v == unknown:
			o.in = nil
			return nil
		case c.stale[v]:
			c.refuse(name+" of a tensor that was changed in place through a view of it", o.path())
			return nil
		}
		o.in = append(o.in, v)
	}
	if len(o.in) == 0 {
		return formatError("damaged graph: %s reads no tensor", n.Target)
	}
	switch why := read(c, n, o); why {
	case "":
	case evaluation:
		return formatError("%s in module %q is in evaluation mode, but a training step is planned", name, o.path())
	default:
		c.refuse(strings.TrimSuffix(name+" "+why, " "), o.path())
		return nil
	}
	if o.kind == kindDropout && o.rate == 0 {
		return c.same(n, operands[0])
	}
	changed := o.in[0]
	if err := c.add(n, o); err != nil {
		return err
	}
	if inPlace {
		c.rebind(changed, o.out)
	}
	return nil
}

// add appends an op, and binds the node's result to what it computes.
func (c *converter) add(n *nodeText, o *op) (err error) {
	c.settle(o)
	if o.out, err = c.newValue(n.result(), o); err != nil {
		return err
	}
	c.ops = append(c.ops, o)
	if o.layout != nil && !o.layout.plain() {
		if len(o.layout.axes) != len(c.sizes[o.out]) {
			return formatError("damaged graph: the shape of the tensor %q doesn't follow from its operand", n.result())
		}
		c.layouts[o.out] = o.layout
	}
	return nil
}

// same lets the result of the node be the tensor t itself.
func (c *converter) same(n *nodeText, t string) error {
	v, ok := c.bound[t]
	if !ok {
		return formatError("damaged graph: %s reads %q before it is computed", n.Target, t)
	}
	c.bind(n.result(), v)
	return nil
}

// rebind has every name of the value old stand for the value v, which was written into it.
func (c *converter) rebind(old, v int) {
	for _, name := range c.names[old] {
		if c.bound[name] == old {
			c.bind(name, v)
		}
	}
	delete(c.names, old)
	root := old
	for base, ok := c.base[root]; ok; base, ok = c.base[root] {
		root = base
	}
	var mark func(w int)
	mark = func(w int) {
		c.stale[w] = c.stale[w] || w != old && c.overlap(old, w)
		for _, view := range c.views[w] {
			mark(view)
		}
	}
	mark(root)
}

// counter says whether the node adds 1 to the number of batches that a normalisation has seen.
func (c *converter) counter(n *nodeText) bool {
	name, ok := c.buffers[n.tensor("self")]
	return ok && strings.HasSuffix(name, "num_batches_tracked")
}

// reader reads the arguments of a node into an op. It returns why the node is not supported, as words after the op's name; empty:
// it is.
type reader func(c *converter, n *nodeText, o *op) string

// readers are the ops that are supported, by their names without overload and underscore. The tables of the families are in
// convert_*.go.
var readers = func() map[string]reader {
	all := map[string]reader{}
	for _, family := range []map[string]reader{layerReaders, normReaders, poolReaders, pointwiseReaders, randomReaders,
		shapeReaders} {
		maps.Copy(all, family)
	}
	return all
}()

// finish checks what comes out of the graph, and drops what leads to nothing.
func (c *converter) finish(s *signature) (*program, error) {
	var results []string
	for _, out := range s.Outputs {
		if out.User != nil {
			name := ""
			if out.User.Arg.Tensor != nil {
				name = out.User.Arg.Tensor.Name
			}
			results = append(results, name)
		}
	}
	if len(results) != 1 {
		return nil, formatError("the network returns %d results; it must return one tensor of logits [N, classes]", len(results))
	}
	v, ok := c.bound[results[0]]
	if !ok || v == 0 || len(c.sizes[v]) != 1 {
		return nil, formatError("the network returns no logits [N, classes]")
	}
	for _, name := range slices.Sorted(maps.Values(c.parameters)) {
		if !c.used[name] {
			return nil, formatError("the parameter %s is not used in the graph, so it has no gradient: remove it from the network", name)
		}
	}
	v = c.standard(v, nil)
	c.result, c.classes = v, c.sizes[v][0]
	needed := map[int]bool{v: true}
	for _, o := range slices.Backward(c.ops) {
		if needed[o.out] {
			for _, x := range o.in {
				needed[x] = true
			}
		} else if o.layer != "" {
			return nil, formatError("the logits do not depend on the layer %s, so it has no gradient: remove it from the network", o.layer)
		}
	}
	c.ops = slices.DeleteFunc(c.ops, func(o *op) bool { return !needed[o.out] })
	c.lastUses = make([]int, len(c.sizes))
	for i, o := range c.ops {
		c.drops = c.drops || o.kind == kindDropout
		o.shared = c.layers[o.layer] > 1
		for _, x := range o.in {
			c.lastUses[x] = i
		}
	}
	c.lastUses[v] = len(c.ops)
	return &c.program, nil
}
