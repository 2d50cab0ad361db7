package optest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/optest"
	"github.com/localbench/localbench/core/reference"
)

func open(g *graph.Graph) optest.Machine { return reference.New(g) }

func TestGradients(t *testing.T) {
	for _, c := range optest.Gradients() {
		t.Run(c.Name, func(t *testing.T) {
			if err := optest.CheckGradient(c, open, seed); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEveryBackwardKindHasAGradientCase(t *testing.T) {
	var covered []graph.Kind
	for _, c := range optest.Gradients() {
		g, err := c.Graph()
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range g.Ops {
			covered = append(covered, op.Kind)
		}
	}
	for _, k := range graph.Kinds() {
		if strings.Contains(k.String(), "_backward") && !slices.Contains(covered, k) {
			t.Errorf("kind %s has no gradient case", k)
		}
	}
}

// offByOne is a machine whose value is wrong in one element.
type offByOne struct {
	optest.Machine
	value *graph.Value
}

func (m offByOne) Get(v *graph.Value) []float64 {
	out := slices.Clone(m.Machine.Get(v))
	if v == m.value {
		largest := slices.Max(out)
		out[slices.Index(out, largest)] = largest*1.0001 + 1e-4
	}
	return out
}

// Planted fault: one element of one gradient off by 1e-4, for every gradient of
// every case.
func TestCheckGradientSeesOneElement(t *testing.T) {
	for _, c := range optest.Gradients() {
		g, err := c.Graph()
		if err != nil {
			t.Fatal(err)
		}
		for _, gradient := range g.Outputs[1:] { // after the result of the function
			if gradient.Category == graph.CategoryInput {
				continue // the incoming gradient itself
			}
			err := optest.CheckGradient(c, func(g *graph.Graph) optest.Machine {
				return offByOne{reference.New(g), g.Values[gradient.ID]}
			}, seed)
			if err == nil {
				t.Errorf("%s: %s is off and nothing was said", c.Name, gradient.Name)
			}
		}
	}
}

// Planted faults: a rule that is wrong as rules are. Each must be seen by all
// cases that hold an op it applies to, and there must be some.
func TestCheckGradientSeesWrongRules(t *testing.T) {
	for _, row := range []struct {
		name  string
		spoil func(op *graph.Op) bool // reports whether it did
	}{
		{"the weight of the loss is forgotten", func(op *graph.Op) bool {
			if op.Kind != graph.KindCrossEntropyBackward || op.Attr.Scale == 1 {
				return false
			}
			op.Attr.Scale = 1
			return true
		}},
		{"the slope of the activation is forgotten", func(op *graph.Op) bool {
			if op.Kind != graph.KindNormBackward || op.Attr.Activation == graph.ActivationNone ||
				op.Operands[graph.NormBackwardResult] != nil {
				return false
			}
			op.Attr.Activation = graph.ActivationNone
			return true
		}},
		{"the bound of a ReLU6 is forgotten", func(op *graph.Op) bool {
			if op.Attr.Activation != graph.ActivationReLU6 || op.Kind != graph.KindNormBackward && op.Kind != graph.KindReLUBackward {
				return false
			}
			op.Attr.Activation = graph.ActivationReLU
			return true
		}},
		{"the residual is left out of the mask", func(op *graph.Op) bool {
			if op.Kind != graph.KindNormBackward || op.Operands[graph.NormBackwardResult] == nil {
				return false
			}
			op.Operands[graph.NormBackwardResult] = nil
			return true
		}},
		{"the second gradient is forgotten", func(op *graph.Op) bool {
			if op.Kind != graph.KindNormBackward || op.Operands[graph.NormBackwardSecondGradient] == nil {
				return false
			}
			op.Operands[graph.NormBackwardSecondGradient] = nil
			return true
		}},
		{"another epsilon", func(op *graph.Op) bool {
			if op.Kind != graph.KindNormBackward {
				return false
			}
			op.Attr.Epsilon *= 1.1
			return true
		}},
		{"the mask is taken from the gradient", func(op *graph.Op) bool {
			if op.Kind != graph.KindReLUBackward {
				return false
			}
			op.Operands[1] = op.Operands[0]
			return true
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			spoiled := 0
			for _, c := range optest.Gradients() {
				did := false
				err := optest.CheckGradient(c, func(g *graph.Graph) optest.Machine {
					for _, op := range g.Ops {
						did = row.spoil(op) || did
					}
					return reference.New(g)
				}, seed)
				if did {
					spoiled++
				}
				if did != (err != nil) {
					t.Errorf("%s: spoiled %t, error %v", c.Name, did, err)
				}
			}
			if spoiled == 0 {
				t.Error("no case holds such an op")
			}
		})
	}
}

// frozen is a machine whose norm_backward takes the statistics for constants:
// the commonest wrong gradient of batch normalisation.
type frozen struct {
	*reference.Machine
	graph *graph.Graph
}

func (m frozen) Run(first, last int) error {
	if err := m.Machine.Run(first, last); err != nil {
		return err
	}
	for _, op := range m.graph.Ops[first:last] {
		if op.Kind != graph.KindNormBackward || op.Attr.Activation != graph.ActivationNone {
			continue
		}
		dy, gamma, variance := m.Get(op.Operands[0]), m.Get(op.Operands[4]), m.Get(op.Operands[3])
		dx := slices.Clone(dy)
		for i := range dx {
			dx[i] *= gamma[i%len(gamma)] / variance[i%len(gamma)]
		}
		m.Set(op.Results[0], dx)
	}
	return nil
}

func TestCheckGradientSeesFrozenStatistics(t *testing.T) {
	for _, c := range optest.Gradients() {
		g, err := c.Graph()
		if err != nil {
			t.Fatal(err)
		}
		applies := slices.ContainsFunc(g.Ops, func(op *graph.Op) bool {
			return op.Kind == graph.KindNormBackward && op.Attr.Activation == graph.ActivationNone
		})
		err = optest.CheckGradient(c, func(g *graph.Graph) optest.Machine { return frozen{reference.New(g), g} }, seed)
		if applies != (err != nil) {
			t.Errorf("%s: statistics frozen %t, error %v", c.Name, applies, err)
		}
	}
}
