package methods_test

import (
	"errors"
	"testing"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
)

// A network without Block works with every method but AugLocal, which says what is missing.
func TestNetworkWithoutBlock(t *testing.T) {
	n, err := networks.New("resnet20", graph.Shape{32, 32, 3}, 10)
	if err != nil {
		t.Fatal(err)
	}
	n.Block = nil
	for _, m := range methods.List() {
		stages, err := m.Stages(n, methods.Options{})
		if m.Name != "auglocal" {
			if err != nil || len(stages) == 0 {
				t.Errorf("%s: got %d stages, %v", m.Name, len(stages), err)
			}
			continue
		}
		var noBlock *methods.NoBlockError
		if !errors.As(err, &noBlock) || noBlock.Network != "resnet20" || noBlock.Hint() == "" {
			t.Errorf("auglocal: got %v, want a *NoBlockError with a hint", err)
		}
	}
}
