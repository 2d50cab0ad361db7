package suite

import (
	"fmt"

	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/datasets"
	"github.com/localbench/localbench/suite/networks"
)

// Listed is an entry of a list of names.
type Listed struct {
	Name  string
	About string   // one line
	Flags []string // that a method reads, with their dashes; nil for other lists
}

// ListMethods lists the training methods in table order.
func ListMethods() (all []Listed) {
	for _, m := range methods.List() {
		l := Listed{Name: m.Name, About: m.About}
		for _, o := range m.Takes {
			l.Flags = append(l.Flags, "--"+string(o))
		}
		all = append(all, l)
	}
	return all
}

// ListNetworks lists the built-in networks in table order.
func ListNetworks() (all []Listed) {
	for _, n := range networks.List() {
		all = append(all, Listed{Name: n.Name, About: n.About})
	}
	return all
}

// ListDatasets lists the data sets.
func ListDatasets() (all []Listed) {
	for _, d := range datasets.List() {
		all = append(all, Listed{Name: d.Name, About: fmt.Sprintf("%d classes, %dx%d", d.Classes, d.Shape.Height, d.Shape.Width)})
	}
	return all
}
