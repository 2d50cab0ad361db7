package methods_test

import (
	"strings"
	"testing"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
)

// TestAugLocalCuts: places end AugLocal's modules as those of other methods; the last d units stay in the head's module.
func TestAugLocalCuts(t *testing.T) {
	n, err := networks.New("resnet20", graph.Shape{32, 32, 3}, 10) // 10 units
	if err != nil {
		t.Fatal(err)
	}
	m, err := methods.Find("auglocal")
	if err != nil {
		t.Fatal(err)
	}
	stages, err := m.Stages(n, methods.Options{Cuts: "1.0,2.2", AuxDepth: 2})
	if err != nil || len(stages) != 3 || len(stages[0].Units) != 2 || len(stages[1].Units) != 5 || len(stages[2].Units) != 3 {
		t.Fatalf("got %d stages, %v, want 2, 5 and 3 units", len(stages), err)
	}
	if stages[0].AuxDepth != 2 || stages[2].AuxDepth != 0 || stages[2].Losses == nil {
		t.Errorf("got the depths %d and %d, want 2 and 0", stages[0].AuxDepth, stages[2].AuxDepth)
	}
	for cuts, want := range map[string]string{
		"3.1":     "auglocal: --cuts: 3.1 is one of the last 2 units, which are part of the head's module",
		"1.0,1.7": `auglocal: --cuts "1.7": must be`,
	} {
		if _, err := m.Stages(n, methods.Options{Cuts: cuts, AuxDepth: 2}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--cuts %s: got %v, want %q", cuts, err, want)
		}
	}
	same, err := m.Stages(n, methods.Options{Cuts: "first", Modules: 5, AuxDepth: 2})
	if err != nil || len(same) != 3 || len(same[0].Units) != 1 || len(same[1].Units) != 1 {
		t.Errorf("--cuts first: got %d stages, %v, want modules of 1, 1 and 8 units", len(same), err)
	}
}
