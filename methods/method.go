// Package methods defines the training methods, one file each. A method divides a
// network into gradient-isolated local modules and defines the loss of each; it
// returns stages as data (model.Stage) and has no access to gradients, plans or
// devices. The order of forward pass, auxiliary network, backward pass and update
// is defined once, in package core.
package methods

import (
	"fmt"
	"slices"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/names"
)

// Method is a training method.
type Method struct {
	Name  string
	About string // one line for lists
	// Takes lists the options that apply to the method.
	Takes []Option
	// Stages divides the network into local modules. An option out of range is an error that
	// names the option, its value and the range.
	Stages func(n *model.Network, o Options) ([]model.Stage, error)
}

// Local reports whether the method cuts the network into gradient-isolated modules.
func (m Method) Local() bool { return m.Reads(OptionModules) }

// Reads reports whether an option applies to the method.
func (m Method) Reads(o Option) bool { return slices.Contains(m.Takes, o) }

// Option names a field of Options, as its flag does.
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

// Options are the settings of a method. The zero value means the published
// defaults.
type Options struct {
	Modules   int       // K, the number of local modules; 0: one per unit
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
	// Program selects the behaviour of the published programs of AugLocal, DGL and MAN where it differs from the
	// papers: see augLocal, man and lateAuxiliary. It has no effect on the other methods.
	Program bool
}

// List returns the methods in table order.
func List() []Method {
	return []Method{
		{Name: "bp", About: "back-propagation: one module, one loss", Stages: backPropagation},
		{Name: "checkpoint", About: "back-propagation that recomputes activations, segment by segment", Stages: checkpoint,
			Takes: []Option{OptionSegment}},
		{Name: "dgl", About: "DGL: pooled 1x1 convolutions and a small perceptron after every module (ICML 2020)", Stages: dgl,
			Takes: []Option{OptionModules, OptionCuts}},
		{Name: "predsim", About: "PredSim: prediction and similarity matching (ICML 2019)", Stages: predSim,
			Takes: []Option{OptionModules, OptionCuts}},
		{Name: "infopro", About: "InfoPro: reconstruction and classification or contrast (ICLR 2021)", Stages: infoPro,
			Takes: []Option{OptionModules, OptionCuts, OptionMode, OptionCoefficients}},
		{Name: "man", About: "MAN: a moving average of the next unit, and a learnable bias (ECCV 2024)", Stages: man,
			Takes: []Option{OptionModules, OptionCuts, OptionMode, OptionCoefficients}},
		{Name: "auglocal", About: "AugLocal: auxiliary networks of uniformly chosen following units (ICLR 2024)", Stages: augLocal,
			Takes: []Option{OptionModules, OptionCuts, OptionAuxDepth, OptionSelection, OptionPyramid, OptionPyramidCoefficient}},
	}
}

// Find returns the method of that name. The error of an unknown name lists the
// known ones.
func Find(name string) (Method, error) {
	return names.Find("method", name, List(), func(m Method) string { return m.Name })
}

// modules returns K for a network of n units: the option, or one per unit.
func (o Options) modules(n int) (int, error) {
	if o.Modules == 0 {
		return n, nil
	}
	if o.Modules < 1 || o.Modules > n {
		return 0, fmt.Errorf("--modules %d: must be 1 to %d: the network has %d units", o.Modules, n, n)
	}
	return o.Modules, nil
}

// auxiliary writes the auxiliary network of module m, whose input is the module's output x,
// and returns its loss terms.
type auxiliary func(b *graph.Builder, m int, x *graph.Value, batch model.Batch) []model.Term

// lateAuxiliary initialises auxiliary networks with PyTorch's defaults where AugLocal's program does (for AugLocal and
// DGL): for some networks it creates them after the loop that initialises the weights.
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
