package methods

import (
	"fmt"
	"math"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// Selection is AugLocal's rule for the units that an auxiliary network copies.
type Selection string

// The selections of the paper's ablation.
const (
	SelectionUniform    Selection = "uniform"    // spread evenly over the units that follow
	SelectionSequential Selection = "sequential" // the units that follow directly
	SelectionRepetitive Selection = "repetitive" // the unit's own width, repeated
)

// augLocal is AugLocal (Ma, Wu, Si, Tan, ICLR 2024). The last d units and the
// head form one module, so there are K' = K-d modules. Module l of the first K'-1
// is trained by an auxiliary network of d_l newly initialised blocks, which have
// the shapes of d_l of the units after it, selected uniformly.
//
// The published program differs in three places (Options.Program). If K is less than the number of units, each of the
// first K'-1 units is a module and the last module has all others. Its script for ImageNet puts no units into the
// head's module, so every unit but the last has an auxiliary network, with fewer blocks where fewer units follow; and at
// d = 1 it has no normalisation before the linear layer.
func augLocal(n *model.Network, o Options) ([]model.Stage, error) {
	units := len(n.Units)
	k, err := o.modules(units)
	if err != nil {
		return nil, fmt.Errorf("auglocal: %w", err)
	}
	if n.Block == nil {
		return nil, &NoBlockError{Network: n.Name, Reason: n.NoBlock}
	}
	d, err := o.augLocalDepth(units)
	if err != nil {
		return nil, fmt.Errorf("auglocal: %w", err)
	}
	t := o.PyramidCoefficient
	if t == 0 {
		t = 0.5
	}
	if t < 0 || t > 1 || math.IsNaN(t) {
		return nil, fmt.Errorf("auglocal: --pyramid-coefficient %g: must be greater than 0 and at most 1", t)
	}
	joined := d // units in the module of the head
	if o.Program && !model.Small(n.Input) {
		joined = 0
	}
	ends, err := o.augLocalEnds(n, k, joined)
	if err != nil {
		return nil, fmt.Errorf("auglocal: %w", err)
	}
	local := len(ends) // modules with an auxiliary network
	depths := pyramid(d, local, t, o.NoPyramid)
	chosen := make([][]int, local)
	for m := range local {
		if chosen[m], err = selectUnits(o.Selection, ends[m], depths[m], units); err != nil {
			return nil, fmt.Errorf("auglocal: %w", err)
		}
	}
	stages := localStages(n, ends, o.lateAuxiliary(n, func(b *graph.Builder, m int, x *graph.Value, batch model.Batch) []model.Term {
		normalise := depths[m] <= 1 && joined > 0
		return []model.Term{model.CrossEntropy(b, augLocalClassifier(b, n, ends[m], chosen[m], normalise, x), batch)}
	}))
	for m := range local {
		stages[m].AuxDepth = len(chosen[m])
	}
	return stages, nil
}

// augLocalEnds returns the last unit of each module with an auxiliary network. Of K modules, the last joined are units of the
// head's module. Places in Cuts are counted as by other methods: K-1 of them make K modules.
func (o Options) augLocalEnds(n *model.Network, k, joined int) ([]int, error) {
	units := len(n.Units)
	if IsPlaces(o.Cuts) || o.Cuts == CutsBalanced {
		ends, err := o.moduleEnds(n)
		if err == nil && len(ends) > 0 && ends[len(ends)-1] >= units-joined {
			err = fmt.Errorf("--cuts: %s is one of the last %d units, which are part of the head's module",
				n.Units[ends[len(ends)-1]].Place, joined)
		}
		return ends, err
	}
	if joined >= k {
		return nil, fmt.Errorf("--aux-depths %d: must be less than the %d modules: the last %d units are part of the head's module",
			joined, k, joined)
	}
	local := k - joined - 1
	if o.Cuts == CutsFirst || o.Program && o.Cuts == "" {
		return firstEnds(0, local), nil
	}
	ends := make([]int, local)
	for m := range ends {
		ends[m] = (m+1)*(units-joined-1)/local - 1
	}
	return ends, nil
}

// NoBlockError reports a network without the block that AugLocal's auxiliary networks consist of.
type NoBlockError struct{ Network, Reason string }

// Error names the network, and the reason where it is known.
func (e *NoBlockError) Error() string {
	if e.Reason != "" {
		return fmt.Sprintf("auglocal: auxiliary networks can't be made of the units of %s: %s", e.Network, e.Reason)
	}
	return fmt.Sprintf("auglocal: network %s defines no block for auxiliary networks", e.Network)
}

// Hint says how a network defines it.
func (e *NoBlockError) Hint() string {
	if e.Reason != "" {
		return "all other methods work; docs/methods.md says which units AugLocal can rebuild"
	}
	return "set model.Network.Block (docs/adding-a-network.md); all other methods work without it"
}

// augLocalDepth returns d, checked against the number of units.
func (o Options) augLocalDepth(units int) (int, error) {
	d := o.AuxDepth
	if d == 0 {
		d = 2
	}
	if d < 1 || d >= units {
		return 0, fmt.Errorf("--aux-depths %d: must be 1 to %d: the network has %d units", d, units-1, units)
	}
	return d, nil
}

// pyramid returns the depths of the auxiliary networks: they decrease linearly from d at the
// first module to (1-t)d + t at the last, rounded half to even. The conversion of the product
// prevents a fused multiply-add, which would round some depths differently.
func pyramid(d, modules int, t float64, flat bool) []int {
	depths := make([]int, modules)
	for l := range depths {
		depths[l] = d
		if !flat && modules > 1 {
			fall := float64(l) * t / float64(modules-1)
			depths[l] = max(1, int(math.RoundToEven(float64(float64(d)*(1-fall))+fall)))
		}
	}
	return depths
}

// selectUnits returns the positions, among n units, of the units whose shapes the auxiliary network of
// the given depth after unit l copies. As in pyramid, no product is fused with the sum.
func selectUnits(s Selection, l, depth, n int) ([]int, error) {
	var chosen []int
	left := n - 1 - l
	for i := 1; i <= min(depth, left); i++ {
		switch s {
		case SelectionUniform, "":
			if depth >= left {
				chosen = append(chosen, l+i)
				continue
			}
			chosen = append(chosen, int(math.RoundToEven(float64(l)+float64(float64(left)/float64(depth)*float64(i)))))
		case SelectionSequential:
			chosen = append(chosen, l+i)
		case SelectionRepetitive:
			chosen = append(chosen, l)
		default:
			return nil, fmt.Errorf("--selection %q: must be %s, %s or %s", s, SelectionUniform, SelectionSequential, SelectionRepetitive)
		}
	}
	return chosen, nil
}

// augLocalClassifier writes the auxiliary network after unit l: a new block with the width of
// each chosen unit, followed by the network's classifier for auxiliary networks if it has one, else
// by a global average pool, a normalisation of the features if normalise is set, and a linear
// classifier. Each doubling of the width from one block to the next adds one pending halving of the
// side; a block takes stride 2 while at least one is pending.
func augLocalClassifier(b *graph.Builder, n *model.Network, l int, chosen []int, normalise bool, x *graph.Value) *graph.Value {
	width, pending := n.Units[l].Width, 0.0
	for i, c := range chosen {
		next, stride := n.Units[c].Width, int64(1)
		if pending += math.Log2(float64(next) / float64(width)); pending >= 1 {
			stride, pending = 2, pending-1
		}
		block := n.Block(fmt.Sprintf("layers.%d", i), n.Units[c], stride)
		b.In(block.Name, func() { x = block.Forward(b, x) })
		width = next
	}
	if n.AuxiliaryHead != nil {
		return n.AuxiliaryHead(b, x)
	}
	x = b.AdaptiveAveragePool(x, 1, 1)
	if normalise {
		x = model.Norm(b, "bn", x)
	}
	return model.Linear(b, "fc", x, n.Classes)
}
