package methods

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// manMomentum is that of the moving average in the paper's runs.
const manMomentum = 0.995

// man is the Momentum Auxiliary Network (Su et al., ECCV 2024): a module's result
// goes through the sum of two units shaped like the next module's first one. One
// is the moving average of that unit, which gradients pass and do not train; the
// other, the learnable bias, is trained. InfoPro's two losses read the sum.
func man(n *model.Network, o Options) ([]model.Stage, error) {
	ends, err := o.moduleEnds(n)
	if err != nil {
		return nil, fmt.Errorf("man: %w", err)
	}
	terms, err := o.infoProTerms(n, len(ends))
	if err != nil {
		return nil, fmt.Errorf("man: %w", err)
	}
	stages := localStages(n, ends, func(b *graph.Builder, m int, x *graph.Value, batch model.Batch) []model.Term {
		next := n.Units[ends[m]+1]
		var average, bias *graph.Value
		b.In("average", func() { b.Frozen(func() { average = next.Forward(b, x) }) })
		b.In("bias", func() { bias = next.Forward(b, x) })
		return terms(b, m, next, b.Add(bias, average), batch)
	})
	for m := range ends {
		stages[m].AuxDepth = 1
		stages[m].Average = &model.Average{Scope: fmt.Sprintf("aux.%d.average", m), Momentum: manMomentum}
	}
	return stages, nil
}
