package methods

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/names"
)

// The rules of Options.Cuts; any other value is a list of places.
const (
	CutsPublished = "published" // InfoPro's if published for the network and K, else even
	CutsBalanced  = "balanced"  // InfoPro's memory-balanced cuts (InfoPro*), where published
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
		if places := cutsFor(publishedCuts, n.PublishedName(), k); places != nil && k < len(n.Units) {
			return endsAtPublished(n, places)
		}
		return evenEnds(len(n.Units), k), nil
	case CutsEven:
		return evenEnds(len(n.Units), k), nil
	case CutsFirst:
		return firstEnds(0, k-1), nil
	case CutsBalanced:
		places := balancedPlaces(n.PublishedName(), o.Dataset, k)
		if places == nil {
			return nil, fmt.Errorf("--cuts balanced: no memory-balanced cuts of %s into %d modules are published", n.Name, k)
		}
		return endsAtPublished(n, places)
	}
	places := o.places()
	if o.Modules != 0 && o.Modules != len(places)+1 {
		return nil, fmt.Errorf("--cuts: %d places can't be combined with --modules %d: name one place for each module but the last",
			len(places), o.Modules)
	}
	return endsAt(n, places)
}

// IsPlaces reports whether cuts lists places, and is not a rule.
func IsPlaces(cuts string) bool {
	switch cuts {
	case "", CutsPublished, CutsBalanced, CutsEven, CutsFirst:
		return false
	}
	return true
}

// places are those that Cuts lists; nil if Cuts names a rule.
func (o Options) places() []string {
	if !IsPlaces(o.Cuts) {
		return nil
	}
	return strings.FieldsFunc(o.Cuts, func(r rune) bool { return r == ' ' || r == ',' || r == '+' })
}

// PublishedCuts reports whether InfoPro published cuts of a network into k modules.
func PublishedCuts(network string, k int) bool { return cutsFor(publishedCuts, network, k) != nil }

// PublishedBalance reports whether memory-balanced cuts of a network into k modules were published, which CutsBalanced stands
// for.
func PublishedBalance(network, dataset string, k int) bool {
	return balancedPlaces(network, dataset, k) != nil
}

func balancedPlaces(network, dataset string, k int) []string {
	if places := cutsFor(balancedCuts, network+" "+dataset, k); places != nil {
		return places
	}
	return cutsFor(balancedCuts, network, k)
}

// cutsFor finds the list of k-1 places of a network, nil if the table has no such list.
func cutsFor(table map[string][]string, network string, k int) []string {
	for _, list := range table[network] {
		if places := strings.Fields(list); len(places) == k-1 {
			return places
		}
	}
	return nil
}

// endsAtPublished converts places of papers into positions of units.
func endsAtPublished(n *model.Network, places []string) ([]int, error) {
	own := make([]string, len(places))
	for i, p := range places {
		at := slices.IndexFunc(n.Units, func(u model.Unit) bool { return u.PublishedPlace() == p })
		if at < 0 {
			return nil, fmt.Errorf("network %s has no unit %s, where a published module ends", n.PublishedName(), p)
		}
		own[i] = n.Units[at].Place
	}
	return endsAt(n, own)
}

// endsAt converts places into positions of units.
func endsAt(n *model.Network, places []string) ([]int, error) {
	var ends []int
	for _, p := range places {
		at := unitAt(n, p)
		if at < 0 {
			known := make([]string, len(n.Units)-1) // a module can't end at the last one
			for i := range known {
				known[i] = n.Units[i].Place
			}
			return nil, fmt.Errorf("--cuts %q: must be %s, %s, %s, %s, or places where units of %s end, such as %s (the nearest ones)",
				p, CutsPublished, CutsBalanced, CutsEven, CutsFirst, n.Name, strings.Join(names.Closest(p, known, nearestCuts), ", "))
		}
		if at == len(n.Units)-1 || len(ends) > 0 && at <= ends[len(ends)-1] {
			return nil, fmt.Errorf("--cuts: %s is out of order: places must be in network order and before the last unit", p)
		}
		ends = append(ends, at)
	}
	return ends, nil
}

// nearestCuts is the number of places that the error of an unknown one lists.
const nearestCuts = 4

// unitAt is the position of the unit that a place or a module path names: the unit's place, its name, the module of its last
// op, its place in papers, or a path that contains units, of which it is the last; -1 if no unit has it.
func unitAt(n *model.Network, path string) int {
	for _, matches := range []func(u model.Unit) bool{
		func(u model.Unit) bool { return u.Place == path },
		func(u model.Unit) bool { return u.Name == path || u.Last == path },
		func(u model.Unit) bool { return u.BuiltInPlace != "" && u.BuiltInPlace == path },
		func(u model.Unit) bool {
			return strings.HasPrefix(u.Place, path+".") || strings.HasPrefix(u.Name, path+".")
		},
	} {
		for at := len(n.Units) - 1; at >= 0; at-- {
			if matches(n.Units[at]) {
				return at
			}
		}
	}
	return -1
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
