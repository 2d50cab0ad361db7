package methods

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/localbench/localbench/core/model"
)

// The rules of Options.Cuts; any other value is a list of places.
const (
	CutsPublished = "published" // InfoPro's if published for the network and K, else even
	CutsBalanced  = "balanced"  // InfoPro's memory-balanced cuts (InfoPro*)
	CutsEven      = "even"      // the same number of units in each module, or one more
	CutsFirst     = "first"     // the first K-1 units are a module each, the others form the last module: AugLocal's program
)

// publishedCuts are InfoPro's (Wang et al., ICLR 2021): the last unit of each
// module but the last, as stage.block; stage 0 is the stem.
var publishedCuts = map[string][]string{
	"resnet32": {"2.1", "1.4 2.4", "1.2 2.1 3.0", "1.0 1.2 1.4 2.1 2.3 3.0 3.2"},
	"resnet110": {"2.8", "1.17 2.17", "1.11 2.7 3.3", "1.4 1.11 2.0 2.7 2.14 3.3 3.10",
		"1.1 1.4 1.7 1.10 1.13 1.16 2.1 2.4 2.7 2.11 2.15 3.1 3.5 3.9 3.13"},
}

// balancedCuts give each module about the same memory (InfoPro*). The key is the network, or network and
// data set for cuts that were published for one data set.
var balancedCuts = map[string][]string{
	"resnet110":       {"1.14", "1.9 2.2", "1.6 1.14 2.8"},
	"resnet110 stl10": {"1.14", "1.8 2.1", "1.6 1.14 2.8"},
	"resnet101":       {"2.0"},
	"resnet152":       {"2.5"},
}

// moduleEnds returns the last unit of each module but the last, by the rule or the
// places in Cuts. If K is the number of units, each unit is a module.
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
			return nil, fmt.Errorf("--cuts balanced: no memory-balanced cuts of %s into %d modules are published; "+
				"they exist for resnet110 with 2, 3 or 4 modules, and for resnet101 and resnet152 with 2", n.Name, k)
		}
		return endsAt(n, places)
	}
	places := o.places()
	if o.Modules != 0 && o.Modules != len(places)+1 {
		return nil, fmt.Errorf("--cuts: %d places can't be combined with --modules %d: name one place for each module but the last",
			len(places), o.Modules)
	}
	return endsAt(n, places)
}

// places are those that Cuts lists; nil if Cuts names a rule.
func (o Options) places() []string {
	switch o.Cuts {
	case CutsPublished, CutsBalanced, CutsEven, CutsFirst:
		return nil
	}
	return strings.FieldsFunc(o.Cuts, func(r rune) bool { return r == ' ' || r == ',' || r == '+' })
}

// PublishedCuts reports whether InfoPro published cuts of a network into k modules.
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

// endsAt converts places into positions of units.
func endsAt(n *model.Network, places []string) ([]int, error) {
	var ends []int
	for _, p := range places {
		at := slices.IndexFunc(n.Units, func(u model.Unit) bool { return u.Place == p })
		if at < 0 {
			return nil, fmt.Errorf("--cuts %q: must be %s, %s, %s, %s, or places stage.block of %s such as %s",
				p, CutsPublished, CutsBalanced, CutsEven, CutsFirst, n.Name, n.Units[1].Place)
		}
		if at == len(n.Units)-1 || len(ends) > 0 && at <= ends[len(ends)-1] {
			return nil, fmt.Errorf("--cuts: %s is out of order: places must be in network order and before the last unit", p)
		}
		ends = append(ends, at)
	}
	return ends, nil
}

// firstEnds ends a module at each unit from first up to, but not including, end.
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
