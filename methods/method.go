// Package methods holds the ways of training, a file each. A method cuts a
// network into gradient-isolated local modules and says what loss each is
// trained by; it returns stages as data (model.Stage) and never sees a
// gradient, a plan or a device. The order of forward, auxiliary network,
// backward and update exists once, in package core.
package methods

import (
	"fmt"
	"strings"

	"github.com/localbench/localbench/core/model"
)

// Method is one way of training a network.
type Method struct {
	Name  string
	About string // one line for lists
	// Local says whether the network is cut into modules; if not, options about
	// modules and auxiliary networks do not apply.
	Local bool
	// Stages cuts the network. Options out of range are errors that name the
	// option, the value and the range.
	Stages func(n *model.Network, o Options) ([]model.Stage, error)
}

// Options are what the user can set of a method. The zero value asks for the
// published defaults.
type Options struct {
	Modules   int       // K, the number of local modules; 0: one a unit
	AuxDepth  int       // AugLocal's d, in units; 0: 2
	Selection Selection // AugLocal's choice of units; empty: uniform
	// PyramidCoefficient is AugLocal's t in (0, 1]; 0: 0.5. NoPyramid gives every
	// auxiliary network the full depth.
	PyramidCoefficient float64
	NoPyramid          bool
}

// List returns the methods in table order.
func List() []Method {
	return []Method{
		{Name: "bp", About: "back-propagation: one module, one loss", Stages: backPropagation},
		{Name: "auglocal", About: "AugLocal: auxiliary networks of uniformly chosen following units (ICLR 2024)", Local: true, Stages: augLocal},
	}
}

// Find returns the method of that name. The error of an unknown name lists the
// known ones.
func Find(name string) (Method, error) {
	var known []string
	for _, m := range List() {
		if m.Name == name {
			return m, nil
		}
		known = append(known, m.Name)
	}
	return Method{}, fmt.Errorf("method: got %q, want one of %s", name, strings.Join(known, ", "))
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
