package exported

import (
	"cmp"
	"fmt"
	"maps"
	"math"
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
	kindReLU
	kindReLU6
	kindSiLU
	kindMaxPool
	kindAveragePool
	kindAdaptivePool
	kindAdd
	kindGate    // in[0] scaled by the sigmoid of in[1]
	kindDropout // of elements, or with rows of samples
	kindFlatten // of a map to features: the linear layer that follows reads the map
	kindSigmoid // becomes a part of kindGate
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
	groups           int64
	bias             bool
	momentum, eps    float64
	pool             graph.PoolOptions
	output           [2]int64 // kindAdaptivePool
	rate             float64
	rows             bool
	flattenedOutputs bool // the result has two dimensions in PyTorch
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
	sizes    [][]int64 // of each value, without the batch, channels first
	maker    []*op     // of each value; nil for the image
	lastUses []int     // of each value: the position of the last op that reads it
}

// UnsupportedError lists everything in a graph that the step program has no op for.
type UnsupportedError struct {
	Path string
	Ops  []UnsupportedOp // the most frequent first
}

// UnsupportedOp is one kind of op, or one use of an op, that is not supported.
type UnsupportedOp struct {
	Op     string // "gelu", "conv2d with dilation"
	Count  int
	Module string // the first module that runs it
}

// Error lists the ops, with their number and the first module of each.
func (e *UnsupportedError) Error() string {
	parts := make([]string, len(e.Ops))
	for i, o := range e.Ops {
		parts[i] = fmt.Sprintf("%s (%d, first in %s)", o.Op, o.Count, cmp.Or(o.Module, "the network itself"))
	}
	return fmt.Sprintf("%s: the network uses ops that are not supported: %s", e.Path, strings.Join(parts, "; "))
}

// Hint says where the supported ops are listed.
func (e *UnsupportedError) Hint() string {
	return "docs/your-own-network.md lists the ops that are supported"
}

// converter turns the nodes of a graph into ops.
type converter struct {
	program
	tensors     map[string]tensorMeta
	bound       map[string]int    // the value that a tensor's name stands for now
	names       map[int][]string  // the names that may stand for a value
	base        map[int]int       // a flattened value and the value that it is a view of
	views       map[int][]int     // and the other way round
	stale       map[int]bool      // values that were changed through a view
	parameters  map[string]string // names in the model, by names in the graph
	used        map[string]bool   // parameters
	buffers     map[string]string
	noise       map[string]*noise // random tensors of stochastic depth
	batch       int64             // 0: symbolic
	unsupported map[string]*UnsupportedOp
}

// noise is a tensor [N 1 1 1] that is 1/keep with the probability keep, else 0.
type noise struct {
	keep   float64 // 0: not drawn yet
	scaled bool
}

// evaluation is what a reader returns for a layer that was exported after .eval().
const evaluation = "in evaluation mode"

// unknown is the value of an op that is not supported.
const unknown = -1

// convert reads the graph of d. Its errors are *FormatError and *UnsupportedError, without a path.
func convert(d *document) (*program, error) {
	g := &d.Module.Graph
	c := &converter{tensors: g.Tensors, bound: map[string]int{}, names: map[int][]string{}, base: map[int]int{},
		views: map[int][]int{}, stale: map[int]bool{},
		parameters: map[string]string{}, used: map[string]bool{}, buffers: map[string]string{}, noise: map[string]*noise{},
		unsupported: map[string]*UnsupportedOp{}}
	if err := c.signature(&d.Module.Signature); err != nil {
		return nil, err
	}
	for i := range g.Nodes {
		if err := c.node(&g.Nodes[i]); err != nil {
			return nil, err
		}
	}
	for _, o := range c.ops { // what is left of them is no gate
		for _, v := range o.in {
			if v > 0 && c.maker[v].kind == kindSigmoid {
				c.refuse("sigmoid other than as the factor [N C 1 1] of a product", c.maker[v].path())
			}
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
	c.sizes, c.maker = append(c.sizes, sizes), append(c.maker, o)
	v := len(c.sizes) - 1
	c.bind(name, v)
	return v, nil
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
var skipped = []string{"sym_size", "contiguous", "_assert_tensor_metadata", "alias"}

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
	switch {
	case slices.Contains(skipped, name):
		if t := n.tensor("self"); t != "" && n.result() != "" {
			return c.same(n, t)
		}
		return nil
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
	if o.kind == kindDropout && o.rate == 0 || o.kind == kindFlatten && len(c.sizes[o.in[0]]) == 1 {
		return c.same(n, operands[0])
	}
	v, err := c.newValue(n.result(), o)
	if err != nil {
		return err
	}
	o.out = v
	c.ops = append(c.ops, o)
	if o.kind == kindFlatten {
		c.base[v], c.views[o.in[0]] = o.in[0], append(c.views[o.in[0]], v)
	}
	if inPlace {
		c.rebind(o.in[0], v)
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
	for _, view := range c.views[old] {
		c.stale[view] = true
	}
	if base, ok := c.base[old]; ok {
		c.stale[base] = true
	}
}

// counter says whether the node adds 1 to the number of batches that a normalization has seen.
func (c *converter) counter(n *nodeText) bool {
	name, ok := c.buffers[n.tensor("self")]
	return ok && strings.HasSuffix(name, "num_batches_tracked")
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
		if o.out, err = c.newValue(n.result(), o); err == nil {
			c.ops = append(c.ops, o)
		}
		return true, err
	}
	return false, nil
}

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
	if !ok || c.used[full] {
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
	o.layer, o.width = layer, shape[0]
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

// readers read the arguments of the ops that are supported, by their names without overload and underscore. They return
// why a node is not supported, as words after the op's name; empty: it is.
var readers map[string]func(c *converter, n *nodeText, o *op) string

func init() {
	plain := func(k kind) func(*converter, *nodeText, *op) string {
		return func(_ *converter, _ *nodeText, o *op) string {
			o.kind = k
			return ""
		}
	}
	none := func(*converter, *nodeText, *op) string { return "" } // read in random
	readers = map[string]func(c *converter, n *nodeText, o *op) string{
		"conv2d": readConv, "batch_norm": readNorm, "linear": readLinear,
		"relu": plain(kindReLU), "relu6": plain(kindReLU6), "hardtanh": readHardtanh,
		"silu": plain(kindSiLU), "sigmoid": plain(kindSigmoid),
		"max_pool2d": readPool, "avg_pool2d": readPool, "adaptive_avg_pool2d": readAdaptivePool, "mean": readMean,
		"add": readAdd, "mul": readGate, "dropout": readDropout, "flatten": readFlatten, "view": readFlatten, "reshape": readFlatten,
		"empty": none, "bernoulli": none, "div": none,
	}
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
	case dilation != [2]int64{1, 1}:
		return "with dilation"
	case stride[0] != stride[1] || padding[0] != padding[1]:
		return "with different strides or paddings in height and width"
	}
	o.stride, o.padding, o.groups = stride[0], padding[0], int64(groups)
	o.inputs = shape[1] * o.groups
	if in := c.sizes[o.in[0]]; len(in) != 3 || in[0] != o.inputs {
		return "of something else than a map [N, C, H, W]"
	}
	return ""
}

func readNorm(c *converter, n *nodeText, o *op) string {
	o.kind = kindNorm
	training, ok := n.flag("training", false)
	if !ok || !training {
		return evaluation
	}
	shape, why := c.layerOf(n, o, 1, true)
	if why != "" {
		return why
	}
	for _, role := range []string{"running_mean", "running_var"} {
		if layer, b, ok := c.parameter(n, role, role); !ok || layer != o.layer || len(b) != 1 || b[0] != o.width {
			return "without running statistics"
		}
	}
	var ok1, ok2 bool
	o.momentum, ok1 = n.number("momentum", 0.1)
	o.eps, ok2 = n.number("eps", 1e-5)
	if !ok1 || !ok2 || !(o.momentum >= 0 && o.momentum <= 1) || !(o.eps > 0 && o.eps < 1) {
		return "with a momentum outside of 0 to 1, or an eps that is not positive"
	}
	o.inputs = shape[0]
	if in := c.sizes[o.in[0]]; len(in) != 3 && len(in) != 1 || in[0] != o.inputs {
		return "of something else than [N, C, H, W] or [N, C]"
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
	if in := c.sizes[o.in[0]]; len(in) != 1 || in[0] != o.inputs {
		return "of a tensor with more than two dimensions"
	}
	return ""
}

func readHardtanh(_ *converter, n *nodeText, o *op) string {
	o.kind = kindReLU6
	low, ok1 := n.number("min_val", -1)
	high, ok2 := n.number("max_val", 1)
	if !ok1 || !ok2 || low != 0 || high != 6 {
		return "with other bounds than 0 and 6"
	}
	return ""
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
	case ceil:
		return "with ceil_mode"
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
	if !slices.Equal(dims, []int64{2, 3}) {
		return "over other dimensions than height and width"
	}
	o.flattenedOutputs = !keep
	return ""
}

func readAdd(c *converter, n *nodeText, o *op) string {
	o.kind = kindAdd
	if alpha, ok := n.number("alpha", 1); !ok || alpha != 1 {
		return "with a factor (alpha)"
	}
	if !slices.Equal(c.sizes[o.in[0]], c.sizes[o.in[1]]) {
		return "of tensors of different shapes"
	}
	return ""
}

// readGate reads the product of squeeze-and-excitation.
func readGate(c *converter, _ *nodeText, o *op) string {
	o.kind = kindGate
	for side, v := range o.in {
		gate, x := c.maker[v], o.in[1-side]
		if gate != nil && gate.kind == kindSigmoid && len(c.sizes[x]) == 3 && slices.Equal(c.sizes[v], []int64{c.sizes[x][0], 1, 1}) {
			o.in = []int{x, gate.in[0]}
			return ""
		}
	}
	return "other than by the sigmoid of squeeze-and-excitation, or in stochastic depth"
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
		for _, x := range o.in {
			c.lastUses[x] = i
		}
	}
	c.lastUses[v] = len(c.ops)
	return &c.program, nil
}
