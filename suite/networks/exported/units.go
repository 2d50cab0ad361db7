package exported

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// unit is a part of the network between two values that are all that is alive there.
type unit struct {
	ops     []*op // in the order in which they are written: see order
	in, out int   // values
	name    string
	place   string // of --cuts: the block, or outside of blocks the first layer
	// width is the number of channels of the result. Where nothing is joined, it is that of a convolution over more than 1x1 that
	// has fewer, the inner one of a bottleneck.
	width int64
}

// units cuts the program into units and a head.
//
// A cut is possible after an op whose result is a map [N, C, H, W] and the only value that a later op reads: a sweep over
// the values that are pending finds all of them. Of these, units end at
//   - the end of a block: the outermost module with layers inside that is no container (blockOf);
//   - outside of blocks, before each convolution and the pools directly before it.
//
// The head begins after the block of the last convolution, or, if that is outside of blocks, at the first pool after it. If no
// single map is all that is read from there on, it begins at the last cut before. Where that leaves fewer than two units, as
// for a network in a wrapper, the largest block is taken for a container.
func (p *program) units() (units []unit, head unit, t *tree, err error) {
	t = p.tree()
	for range 100 { // as deep as any nesting of modules; each round opens one
		ends, ok := p.ends(t)
		if ok && len(ends) > 1 || !t.open(p) {
			if !ok {
				return nil, head, nil, formatError("there is no place after a convolution of the network where a single map " +
					"[N, C, H, W] is all that later layers read, so it can't be cut into units and a head")
			}
			units, head = p.cut(ends, t)
			return units, head, t, nil
		}
	}
	return nil, head, nil, formatError("modules are nested too deeply")
}

// tree is what is known of the modules.
type tree struct {
	children map[string]map[string]string // the kinds of the modules inside, by path
	direct   map[string]bool              // modules that run ops themselves
	opened   map[string]bool              // blocks that are taken for containers
	blocks   []module                     // of each op; an empty path: outside of blocks
}

func (p *program) tree() *tree {
	t := &tree{children: map[string]map[string]string{}, direct: map[string]bool{}, opened: map[string]bool{},
		blocks: make([]module, len(p.ops))}
	for _, o := range p.ops {
		for i, m := range o.modules[:max(len(o.modules)-1, 0)] {
			if t.children[m.path] == nil {
				t.children[m.path] = map[string]string{}
			}
			t.children[m.path][o.modules[i+1].path] = o.modules[i+1].kind
		}
		t.direct[o.path()] = true
	}
	return t
}

// container says whether a module is nothing but a list of others: PyTorch's own containers, and modules all of whose ops are
// in blocks of one kind.
func (t *tree) container(m module) bool {
	const torch = "torch.nn.modules.container."
	if m.path == "" || strings.HasPrefix(m.kind, torch) || t.opened[m.path] {
		return true
	}
	if t.direct[m.path] || len(t.children[m.path]) == 0 {
		return false
	}
	first := ""
	for path, kind := range t.children[m.path] {
		if first = cmp.Or(first, kind); kind != first || strings.HasPrefix(kind, torch) || len(t.children[path]) == 0 {
			return false
		}
	}
	return true
}

// blockOf is the outermost module of an op that has modules inside and is no container.
func (t *tree) blockOf(o *op) module {
	for _, m := range o.modules {
		if !t.container(m) {
			if len(t.children[m.path]) == 0 {
				return module{} // a layer
			}
			return m
		}
	}
	return module{}
}

// open takes the block with the most ops for a container. It returns false if there are no blocks.
func (t *tree) open(p *program) bool {
	count, best := map[string]int{}, ""
	for _, o := range p.ops {
		if b := t.blockOf(o).path; b != "" {
			if count[b]++; count[b] > count[best] {
				best = b
			}
		}
	}
	t.opened[best] = true
	return best != ""
}

// isPool says whether the op makes a map smaller without a parameter.
func (o *op) isPool() bool {
	return o.kind == kindMaxPool || o.kind == kindAveragePool || o.kind == kindAdaptivePool || o.kind == kindFlatten
}

// ends returns the positions after the last op of each unit; the head begins at the last of them.
func (p *program) ends(t *tree) (ends []int, ok bool) {
	last := -1 // convolution
	for i, o := range p.ops {
		t.blocks[i] = t.blockOf(o)
		if o.kind == kindConv {
			last = i
		}
	}
	if last < 0 {
		return nil, false
	}
	can := p.cuts()
	head := last + 1
	inside := func(i int) bool { // the block of the last convolution, or outside of blocks what follows it directly
		return t.blocks[i] == t.blocks[last] && (t.blocks[last].path != "" || !p.ops[i].isPool())
	}
	for head < len(p.ops) && (!can[head] || inside(head)) {
		head++
	}
	if head >= len(p.ops) { // other maps are alive until the end: the head has convolutions, too
		first := slices.IndexFunc(p.ops, func(o *op) bool { return o.kind == kindConv })
		for head = last; head > first && !can[head]; head-- {
		}
		if head <= first {
			return nil, false
		}
	}
	start, convolutions := 0, 0 // of the current unit
	end := func(at int) {
		if at > start && can[at] {
			ends, start, convolutions = append(ends, at), at, 0
		}
	}
	for i := range head {
		o, block := p.ops[i], t.blocks[i].path
		before := ""
		if i > 0 {
			before = t.blocks[i-1].path
		}
		switch {
		case i > 0 && block != before && convolutions > 0 && (block != "" || p.layersFollow(t, i)):
			end(i)
		case block == "" && o.kind == kindConv && convolutions > 0:
			at := i
			for at > start+1 && p.ops[at-1].isPool() && t.blocks[at-1].path == "" {
				at--
			}
			if !can[at] {
				at = i
			}
			if end(at); start == at {
				convolutions = 0
			}
		}
		if o.kind == kindConv {
			convolutions++
		}
	}
	return append(ends, head), true
}

// layersFollow says whether there is a convolution outside of blocks from op i on before the next block.
func (p *program) layersFollow(t *tree, i int) bool {
	for ; i < len(p.ops) && t.blocks[i].path == ""; i++ {
		if p.ops[i].kind == kindConv {
			return true
		}
	}
	return false
}

// cuts says for each position whether all that the ops from there on read is the result of the op before, a map.
func (p *program) cuts() []bool {
	pending := make([]int, len(p.ops)+2) // changes of the number of values that are read later
	add := func(v, made int) {
		pending[made+1]++
		pending[max(p.lastUses[v], made)+1]--
	}
	add(0, -1)
	layers := map[string][2]int{} // the first and the last op of layers that several ops have: a unit has all of them
	for i, o := range p.ops {
		add(o.out, i)
		if o.shared {
			if _, ok := layers[o.layer]; !ok {
				layers[o.layer] = [2]int{i, i}
			}
			layers[o.layer] = [2]int{layers[o.layer][0], i}
		}
	}
	for _, l := range layers {
		pending[l[0]+1]++
		pending[l[1]+1]--
	}
	can, alive := make([]bool, len(p.ops)+1), 0
	for i := range p.ops {
		alive += pending[i]
		can[i] = i > 0 && alive == 1 && len(p.sizes[p.ops[i-1].out]) == 3 && p.layouts[p.ops[i-1].out] == nil
	}
	return can
}

// cut makes the units that end at the positions, and the head.
func (p *program) cut(ends []int, t *tree) (units []unit, head unit) {
	start, in := 0, 0
	places := map[string]bool{}
	for _, end := range append(ends, len(p.ops)) {
		u := unit{ops: p.ops[start:end], in: in, out: p.ops[end-1].out}
		u.name = commonPath(u.ops)
		u.order(p)
		if end == len(p.ops) {
			u.out = p.result
			return units, u
		}
		u.width = p.sizes[u.out][0]
		for i, o := range p.ops[start:end] {
			if o.kind == kindConv && o.kernel[0]*o.kernel[1] > 1 && !u.joins() {
				u.width = min(u.width, o.width)
			}
			u.place = cmp.Or(u.place, t.blocks[start+i].path, o.layer)
		}
		u.place = cmp.Or(u.place, "unit")
		for name, n := u.place, 2; places[u.place]; n++ {
			u.place = fmt.Sprintf("%s@%d", name, n)
		}
		places[u.place] = true
		units = append(units, u)
		start, in = end, u.out
	}
	return units, head
}

// commonPath is the deepest module path that all ops and their layers are in.
func commonPath(ops []*op) string {
	var common []string
	for i, o := range ops {
		for _, path := range []string{o.path(), cmp.Or(o.layer, o.path())} {
			parts := strings.FieldsFunc(path, func(r rune) bool { return r == '.' })
			if i == 0 && common == nil {
				common = append([]string{}, parts...)
			}
			n := 0
			for n < min(len(common), len(parts)) && common[n] == parts[n] {
				n++
			}
			common = common[:n]
		}
	}
	return strings.Join(common, ".")
}

// order puts the ops of a unit into the order in which they are written: depth first from the result, and of the two sides of
// a sum the shorter one first; it becomes the second operand. So a program does not depend on how a sum is written in
// PyTorch, and of a residual block the shortcut comes first, as in the networks of this repository.
func (u *unit) order(p *program) {
	depth := map[int]int{}
	mine := map[int]*op{}
	for _, o := range u.ops { // in the file's order every operand has its depth already
		d := 0
		for _, v := range o.in {
			d = max(d, depth[v])
		}
		depth[o.out], mine[o.out] = d+1, o
	}
	ordered := make([]*op, 0, len(u.ops))
	done := map[int]bool{}
	var visit func(v int)
	visit = func(v int) {
		o := mine[v]
		if o == nil || done[v] {
			return
		}
		done[v] = true
		if o.kind == kindAdd {
			if depth[o.in[0]] < depth[o.in[1]] {
				o.in[0], o.in[1] = o.in[1], o.in[0]
			}
			visit(o.in[1])
		}
		for _, x := range o.in {
			visit(x)
		}
		ordered = append(ordered, o)
	}
	visit(u.ops[len(u.ops)-1].out)
	u.ops = ordered
}

// relative is the path of a module or layer inside the unit.
func (u *unit) relative(path string) string {
	if path == u.name {
		return ""
	}
	if u.name == "" {
		return path
	}
	return strings.TrimPrefix(path, u.name+".")
}
