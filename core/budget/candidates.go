package budget

import (
	"cmp"
	"slices"

	"github.com/localbench/localbench/core/graph"
)

// candidate is a forward op that the backward pass may run again.
type candidate struct {
	results []string
	module  int
	price   float64 // bytes moved for a byte that is freed
}

// flopsPerByte converts arithmetic to bytes moved: processors do some 10 to 100 operations while they move a byte.
const flopsPerByte = 32

// cost is the cost of running an op, in bytes moved.
func cost(op *graph.Op) float64 { return float64(op.Bytes()) + float64(op.FLOPs())/flopsPerByte }

// identity is equal for an op and for its copies that recompute: they need the same workspace.
func identity(op *graph.Op) string {
	list := op.Results
	if len(list) == 0 {
		list = op.Operands
	}
	v := list[0]
	if v.Recomputes != nil {
		v = v.Recomputes
	}
	return op.Kind.String() + " " + v.Name
}

func forward(op *graph.Op) bool {
	return op.Phase != graph.PhaseBackward && op.Phase != graph.PhaseUpdate
}

// stored is the activation of which v is another form (graph.Value.Stores); v itself if it is no such form.
func stored(v *graph.Value) *graph.Value {
	if v.Stores != nil {
		return v.Stores
	}
	return v
}

// stores reports whether op compresses or expands an activation, or normalises one only for a mask.
func stores(op *graph.Op) bool { return len(op.Results) > 0 && op.Results[0].Stores != nil }

// candidatesOf lists the ops of the forward pass that can run again, the cheapest first: they update nothing, and only ops of
// their module, among them of its backward pass, read their results. What is freed of a result that is stored in fewer bits are
// those. Results that are small compared with the budget are left out.
func candidatesOf(g *graph.Graph, budget int64) (list []candidate) {
	kept := map[*graph.Value]bool{}  // outputs, and what another module reads
	late := map[*graph.Value]bool{}  // read by the backward pass
	bits := map[*graph.Value]int64{} // bytes of what is stored in fewer bits
	for _, v := range g.Outputs {
		kept[v] = true
	}
	for _, op := range g.Ops {
		if stores(op) && forward(op) {
			for _, v := range op.Results {
				if v.Category == graph.CategoryCompressed {
					bits[v.Stores] += v.Bytes()
				}
			}
		}
		for _, v := range op.Operands {
			if v != nil {
				kept[v] = kept[v] || v.Module != op.Module
				late[v] = late[v] || op.Phase == graph.PhaseBackward
			}
		}
	}
	for _, op := range g.Ops {
		results, updates := op.Results, len(op.Mutates()) > 0
		if op.ComputesStatistics() { // which are kept: recomputed is the convolution alone
			results, updates = results[:1], false
		}
		if !forward(op) || stores(op) || op.Kind == graph.KindNormStats || updates ||
			slices.ContainsFunc(results, func(v *graph.Value) bool { return kept[v] }) {
			continue
		}
		c := candidate{module: op.Module}
		var bytes int64
		for _, v := range results {
			c.results = append(c.results, v.Name)
			if bytes += bits[v]; late[v] {
				bytes += v.Bytes()
			}
		}
		if bytes > budget/1000 {
			c.price = cost(op) / float64(bytes)
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return cmp.Compare(a.price, b.price) })
	return list
}

// checkpointsOf lists, by module, the values from which all later ones of the forward pass can be computed, without any
// earlier activation.
func checkpointsOf(g *graph.Graph) map[int][]string {
	ops := map[int][]*graph.Op{}   // by module: its forward pass
	last := map[*graph.Value]int{} // position of the last reader among the module's own ops
	for _, op := range g.Ops {
		if !forward(op) || stores(op) {
			continue
		}
		for _, v := range op.Operands {
			if v != nil {
				last[v] = len(ops[op.Module])
			}
		}
		ops[op.Module] = append(ops[op.Module], op)
	}
	list := map[int][]string{}
	for module, ops := range ops {
		reach := 0 // the last reader of everything made so far
		for i, op := range ops {
			alone := reach <= i
			for _, v := range op.Operands { // such as the module's input, which no op of the module makes
				if v != nil && !v.Category.Persistent() && v.Category != graph.CategoryInput {
					alone = alone && last[v] <= i
				}
			}
			for _, v := range op.Results {
				reach = max(reach, last[v])
			}
			if alone && len(op.Results) == 1 && last[op.Results[0]] > i {
				list[module] = append(list[module], op.Results[0].Name)
			}
		}
	}
	return list
}
