package methods

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/localbench/localbench/core/model"
)

// The rules of Options.Cuts; anything else is a list of places.
const (
	CutsPublished = "published" // InfoPro's where there is one for the network and K, else even
	CutsBalanced  = "balanced"  // InfoPro's memory-balanced ones (InfoPro*)
	CutsEven      = "even"      // the same number of units in each module, up to one
	CutsFirst     = "first"     // one of the first K-1 units in each module, the rest in the last: AugLocal's program
)

// publishedCuts are those of InfoPro (Wang et al., ICLR 2021): the last unit of
// each module but the last, as stage.block, stage 0 being the stem.
var publishedCuts = map[string][]string{
	"resnet32":  {"2.1", "1.4 2.4", "1.2 2.1 3.0", "1.0 1.2 1.4 2.1 2.3 3.0 3.2"},
	"resnet110": {"2.8", "1.17 2.17", "1.11 2.7 3.3", "1.4 1.11 2.0 2.7 2.14 3.3 3.10", "1.1 1.4 1.7 1.10 1.13 1.16 2.1 2.4 2.7 2.11 2.15 3.1 3.5 3.9 3.13"},
}

// balancedCuts are those that give each module about the same memory (InfoPro*), by network or, where
// they are of one data set, by network and data set.
var balancedCuts = map[string][]string{
	"resnet110":       {"1.14", "1.9 2.2", "1.6 1.14 2.8"},
	"resnet110 stl10": {"1.14", "1.8 2.1", "1.6 1.14 2.8"},
	"resnet101":       {"2.0"},
	"resnet152":       {"2.5"},
}

// moduleEnds returns the last unit of each module but the last. K units a
// module each where K is the number of units; else what Cuts says.
func (o Options) moduleEnds(n *model.Network) ([]int, error) {
	k, err := o.modules(len(n.Units))
	if err != nil {
		return nil, err
	}
	switch o.Cuts {
	case "", CutsPublished:
		if places := cutsFor(publishedCuts, n.Name, k); places != nil && k < len(n.Units) {
			return endsAt(n, places)
		}
		return evenEnds(len(n.Units), k), nil
	case CutsEven:
		return evenEnds(len(n.Units), k), nil
	case CutsFirst:
		return firstEnds(0, k-1), nil
	case CutsBalanced:
		places := cutsFor(balancedCuts, n.Name+" "+o.Dataset, k)
		if places == nil {
			places = cutsFor(balancedCuts, n.Name, k)
		}
		if places == nil {
			return nil, fmt.Errorf("cuts: no memory-balanced cut of %s into %d modules is published, there are some of resnet110 into 2, 3 and 4, and of resnet101 and resnet152 into 2", n.Name, k)
		}
		return endsAt(n, places)
	}
	places := o.places()
	if o.Modules != 0 && o.Modules != len(places)+1 {
		return nil, fmt.Errorf("cuts: got %d places with %d modules, want one place for each module but the last", len(places), o.Modules)
	}
	return endsAt(n, places)
}

// places are those that Cuts lists, where it is no rule's name.
func (o Options) places() []string {
	switch o.Cuts {
	case CutsPublished, CutsBalanced, CutsEven, CutsFirst:
		return nil
	}
	return strings.FieldsFunc(o.Cuts, func(r rune) bool { return r == ' ' || r == ',' || r == '+' })
}

// PublishedCuts says whether InfoPro published cuts of a network into k modules.
func PublishedCuts(network string, k int) bool { return cutsFor(publishedCuts, network, k) != nil }

// cutsFor finds the list of k-1 places of a network, nil if there is none.
func cutsFor(table map[string][]string, network string, k int) []string {
	for _, list := range table[network] {
		if places := strings.Fields(list); len(places) == k-1 {
			return places
		}
	}
	return nil
}

// endsAt turns places into units.
func endsAt(n *model.Network, places []string) ([]int, error) {
	var ends []int
	for _, p := range places {
		at := slices.IndexFunc(n.Units, func(u model.Unit) bool { return u.Place == p })
		if at < 0 {
			return nil, fmt.Errorf("cuts: got %q, want %s, %s, %s, %s or places stage.block of %s such as %s",
				p, CutsPublished, CutsBalanced, CutsEven, CutsFirst, n.Name, n.Units[1].Place)
		}
		if at == len(n.Units)-1 || len(ends) > 0 && at <= ends[len(ends)-1] {
			return nil, fmt.Errorf("cuts: %s is out of order: want places in order, before the last unit", p)
		}
		ends = append(ends, at)
	}
	return ends, nil
}

// firstEnds are the modules that end at the units from first to before end.
func firstEnds(first, end int) []int {
	var ends []int
	for unit := first; unit < end; unit++ {
		ends = append(ends, unit)
	}
	return ends
}

// evenEnds spreads k modules over n units.
func evenEnds(n, k int) []int {
	var ends []int
	for m := 1; m < k; m++ {
		ends = append(ends, int(math.Round(float64(m)*float64(n)/float64(k)))-1)
	}
	return ends
}
