package suite

import (
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/datasets"
)

// What to do about the quirks of the published programs (AugLocal, InfoPro, MAN).
const (
	QuirksNone  = "none"  // what is right
	QuirksPaper = "paper" // what the programs did, so that their figures can be met
)

// CutsPublished asks for InfoPro's cuts where there are some, else even ones, with --quirks paper too.
const CutsPublished = methods.CutsPublished

// What the programs for small images do to a set that is neither CIFAR-10 nor SVHN,
// whatever they are asked for: to STL-10.
const (
	paperBatch   = 128
	paperLR      = 0.1
	paperClasses = 100 // its name is misspelt where the number of classes is chosen
)

// Data sets that the quirks are about.
const (
	stl10    = "stl10"
	imagenet = "imagenet"
)

// quirks is the word for the spec: empty for none, so that ids stay what they were.
func (r Request) quirks() string {
	if r.Quirks == QuirksPaper {
		return QuirksPaper
	}
	return ""
}

// ownSettings says whether the programs set batch and learning rate themselves.
func (r Request) ownSettings(dataset string) bool { return r.Quirks == QuirksPaper && dataset == stl10 }

// withoutPyramid says whether AugLocal's program leaves its pyramid out: the script for
// ImageNet never passes the flag on.
func (r Request) withoutPyramid(dataset string) bool {
	return r.Quirks == QuirksPaper && dataset == imagenet
}

// program says whether the method does what its published program does where that is not what the paper describes
// (methods.Options.Program), with the given number of modules, 0 for one per unit. Where the two are the same a spec does not
// name the program, so that ids stay what they were.
func (r Request) program(m methods.Method, n *model.Network, modules int) bool {
	if r.Quirks != QuirksPaper {
		return false
	}
	switch m.Name {
	case "man":
		return true
	case "auglocal":
		return !model.Small(n.Input) || modules != 0 && modules != len(n.Units)
	case "dgl":
		return n.LateAuxiliary
	}
	return false
}

// firstUnits says whether the cuts are those of AugLocal's program: it takes one of the first K-1 units a module, where
// no other program has cuts of its own. InfoPro's program has, for some networks and numbers of modules, and MAN's.
func (r Request) firstUnits(m methods.Method, n *model.Network, modules int) bool {
	if r.Quirks != QuirksPaper || modules == 0 || modules == len(n.Units) {
		return false
	}
	return m.Name == "dgl" || m.Name == "predsim" || m.Name == "infopro" && !methods.PublishedCuts(n.PublishedName(), modules)
}

// deferred says whether gradients are kept until one update ends the step, as the programs keep them.
func (r Request) deferred() bool {
	return r.Update == UpdateDeferred || r.Update == "" && r.Quirks == QuirksPaper
}

// classesOf is how many classes the classifiers of a spec have, the auxiliary ones included.
func classesOf(spec results.Spec, card datasets.Card) int64 {
	if spec.Quirks == QuirksPaper && spec.Dataset == stl10 {
		return paperClasses
	}
	return int64(card.Classes)
}
