// Package methods holds the ways of training, a file each. A method cuts a
// network into gradient-isolated local modules and says what loss each is
// trained by; it returns stages as data (model.Stage) and never sees a
// gradient, a plan or a device. The order of forward, auxiliary network,
// backward and update exists once, in package core.
package methods

import (
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/names"
)

// Method is one way of training a network.
type Method struct {
	Name  string
	About string // one line for lists
	// Takes lists the options that the method reads; the others do not apply to it.
	Takes []Option
	// Stages cuts the network. Options out of range are errors that name the
	// option, the value and the range.
	Stages func(n *model.Network, o Options) ([]model.Stage, error)
}

// Local says whether the method cuts the network into gradient-isolated modules.
func (m Method) Local() bool { return m.Reads(OptionModules) }

// Reads says whether the method reads an option.
func (m Method) Reads(o Option) bool { return slices.Contains(m.Takes, o) }

// Option names a field of Options; it is the name of its flag, too.
type Option string

// The options, in the order of help texts.
const (
	OptionModules            Option = "modules"
	OptionCuts               Option = "cuts"
	OptionAuxDepth           Option = "aux-depths"
	OptionSelection          Option = "selection"
	OptionPyramid            Option = "no-pyramid"
	OptionPyramidCoefficient Option = "pyramid-coefficient"
	OptionMode               Option = "infopro-mode"
	OptionCoefficients       Option = "infopro-coefficients"
	OptionSegment            Option = "segment"
)

// Options are what the user can set of a method. The zero value asks for the
// published defaults.
type Options struct {
	Modules   int       // K, the number of local modules; 0: one a unit
	Cuts      string    // where modules end, see moduleEnds; empty: published
	AuxDepth  int       // AugLocal's d, in units; 0: 2
	Selection Selection // AugLocal's choice of units; empty: uniform
	// PyramidCoefficient is AugLocal's t in (0, 1]; 0: 0.5. NoPyramid gives every
	// auxiliary network the full depth.
	PyramidCoefficient float64
	NoPyramid          bool
	Mode               Mode   // InfoPro's classification loss; empty: softmax
	Head               Head   // of InfoPro's classification loss, for small images; empty: the published one
	Coefficients       string // InfoPro's: a preset's name, or four numbers; empty: chosen
	Dataset            string // chooses among InfoPro's presets
	Segment            int    // units that checkpointing recomputes together; 0: about sqrt(units)
	// Program makes AugLocal, DGL and MAN do what their published programs do where that is not what the papers
	// describe: see augLocal, man and lateAuxiliary. The other methods do not differ.
	Program bool
}

// List returns the methods in table order.
func List() []Method {
	return []Method{
		{Name: "bp", About: "back-propagation: one module, one loss", Stages: backPropagation},
		{Name: "checkpoint", About: "back-propagation that recomputes activations, segment by segment", Stages: checkpoint,
			Takes: []Option{OptionSegment}},
		{Name: "dgl", About: "DGL: pooled 1x1 convolutions and a small perceptron behind every module (ICML 2020)", Stages: dgl,
			Takes: []Option{OptionModules, OptionCuts}},
		{Name: "predsim", About: "PredSim: prediction and similarity matching (ICML 2019)", Stages: predSim,
			Takes: []Option{OptionModules, OptionCuts}},
		{Name: "infopro", About: "InfoPro: reconstruction and classification or contrast (ICLR 2021)", Stages: infoPro,
			Takes: []Option{OptionModules, OptionCuts, OptionMode, OptionCoefficients}},
		{Name: "man", About: "MAN: a moving average of the next unit, and a learnable bias (ECCV 2024)", Stages: man,
			Takes: []Option{OptionModules, OptionCuts, OptionMode, OptionCoefficients}},
		{Name: "auglocal", About: "AugLocal: auxiliary networks of uniformly chosen following units (ICLR 2024)", Stages: augLocal,
			Takes: []Option{OptionModules, OptionAuxDepth, OptionSelection, OptionPyramid, OptionPyramidCoefficient}},
	}
}

// Find returns the method of that name. The error of an unknown name lists the
// known ones.
func Find(name string) (Method, error) {
	return names.Find("method", name, List(), func(m Method) string { return m.Name })
}

// modules returns K for a network of n units: the option, or one a unit.
func (o Options) modules(n int) (int, error) {
	if o.Modules == 0 {
		return n, nil
	}
	if o.Modules < 1 || o.Modules > n {
		return 0, fmt.Errorf("modules: got %d, want 1 to %d: the network has %d units", o.Modules, n, n)
	}
	return o.Modules, nil
}

// auxiliary writes the auxiliary network of module m of k on the module's result
// and returns its loss terms.
type auxiliary func(b *graph.Builder, m int, x *graph.Value, batch model.Batch) []model.Term

// lateAuxiliary gives the auxiliary networks of aux PyTorch's default starting weights where AugLocal's program, which
// AugLocal and DGL follow, leaves them so: it makes those of some networks after the loop that initialises the weights.
func (o Options) lateAuxiliary(n *model.Network, aux auxiliary) auxiliary {
	if !o.Program || !n.LateAuxiliary {
		return aux
	}
	return func(b *graph.Builder, m int, x *graph.Value, batch model.Batch) []model.Term {
		terms := aux(b, m, x, batch)
		model.DefaultStart(b.State(auxiliaryScope(m) + "."))
		return terms
	}
}

// auxiliaryScope is the scope of the auxiliary network of module m.
func auxiliaryScope(m int) string { return fmt.Sprintf("aux.%d", m) }

// localStages cuts the network into gradient-isolated modules, all but the last
// with an auxiliary network in the scope aux.<module>, the last with the head.
func localStages(n *model.Network, ends []int, aux auxiliary) []model.Stage {
	var stages []model.Stage
	first := 0
	for m, end := range ends {
		stages = append(stages, model.Stage{
			Units: n.Units[first : end+1],
			Losses: func(b *graph.Builder, x *graph.Value, batch model.Batch) (terms []model.Term) {
				b.In(auxiliaryScope(m), func() { terms = aux(b, m, x, batch) })
				return terms
			},
		})
		first = end + 1
	}
	return append(stages, model.Stage{Units: n.Units[first:], Losses: n.HeadLosses, Classifier: true})
}
