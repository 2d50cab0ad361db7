package suite

import (
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/results"
)

// Units lists the units of the run's network in their order, and last its head: what a user needs to choose where modules end.
func (r *Run) Units() ([]results.Unit, error) {
	const batch = 2
	b := graph.NewBuilder(true)
	var units []results.Unit
	b.InModule(0, graph.PhaseForward, func() {
		one := [4]float64{1, 1, 1, 1}
		x := b.NormalizeImage(b.Input("images", append(graph.Shape{batch}, r.Network.Input...), graph.TypeU8), [4]float64{}, one)
		counted := 0
		add := func(place, builtIn, name string) {
			u := results.Unit{Place: place, BuiltIn: builtIn, Name: name, Shape: append([]int64{}, x.Shape[1:]...)}
			state := b.State("")
			for _, v := range state[counted:] {
				if v.Category == graph.CategoryParameter {
					u.Parameters += v.Shape.Elements()
				}
			}
			counted = len(state)
			units = append(units, u)
		}
		for _, u := range r.Network.Units {
			if b.In(u.Name, func() { x = u.Forward(b, x) }); b.Err() != nil {
				return
			}
			add(u.Place, u.BuiltInPlace, u.Name)
		}
		if x = r.Network.Head(b, x); b.Err() == nil {
			add("", "", "head")
		}
	})
	return units, b.Err()
}
