package autodiff

import (
	"slices"
	"testing"

	"github.com/localbench/localbench/core/graph"
)

// disagreements lists the kinds for which the table of kinds and the rules disagree on whether there is a gradient rule.
func disagreements(rule func(graph.Kind) func(*walk, *graph.Op)) (kinds []graph.Kind) {
	for _, k := range graph.Kinds() {
		if (rule(k) != nil) != k.Differentiable() {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

func TestRulesAgreeWithTheTableOfKinds(t *testing.T) {
	for _, k := range disagreements(gradientRule) {
		t.Errorf("%s: the table of kinds says that it has a gradient rule: %t; core/autodiff has one: %t", k, k.Differentiable(),
			gradientRule(k) != nil)
	}
}

func TestRulesPlantedMismatch(t *testing.T) {
	got := disagreements(func(k graph.Kind) func(*walk, *graph.Op) {
		switch k {
		case graph.KindReLU: // a rule is missing
			return nil
		case graph.KindNormStats: // a rule too many
			return add
		}
		return gradientRule(k)
	})
	if want := []graph.Kind{graph.KindNormStats, graph.KindReLU}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
