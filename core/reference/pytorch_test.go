package reference

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/localbench/localbench/core/graph"
)

// golden is one case of testdata/pytorch.json.
type golden struct {
	Name, Family string
	Options      struct {
		graph.PoolOptions
		Activation  graph.Activation
		Scale       float64
		Momentum    float64
		WeightDecay float64
		Nesterov    bool
		Output      [2]int64
		Groups      int64
		Dilation    int64
		Rows        bool
		Stride      json.RawMessage // a number for conv, two for pools
		Padding     json.RawMessage
	}
	Values map[string]struct {
		Shape graph.Shape
		Data  []float64
	}
}

func readGolden(t *testing.T) []golden {
	t.Helper()
	text, err := os.ReadFile("testdata/pytorch.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []golden }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) == 0 {
		t.Fatal("testdata/pytorch.json holds no case")
	}
	return file.Cases
}

func TestPyTorch(t *testing.T) {
	for _, c := range readGolden(t) {
		t.Run(c.Family+"/"+c.Name, func(t *testing.T) {
			s := setup(t, c)
			if err := s.run(); err != nil {
				t.Fatal(err)
			}
			for name, v := range s.made {
				if err := near(s.machine.Get(v), c.Values[name].Data); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// Every value that is compared is, with one element off, found to be wrong.
func TestPyTorchSeesFaults(t *testing.T) {
	for _, c := range readGolden(t) {
		s := setup(t, c)
		if err := s.run(); err != nil {
			t.Fatal(err)
		}
		for name, v := range s.made {
			got := s.machine.Get(v)
			got[len(got)-1] += 1e-6
			if near(got, c.Values[name].Data) == nil {
				t.Errorf("%s/%s: %s: an element is off by 1e-6 and nothing was said", c.Family, c.Name, name)
			}
		}
	}
}

// near compares within 1e-9: float64 sums of some hundred terms of order one,
// held to 13 digits in the file, agree to about 1e-12.
func near(got, want []float64) error {
	if len(got) != len(want) {
		return fmt.Errorf("got %d elements, want %d", len(got), len(want))
	}
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= 1e-9*max(1, math.Abs(want[i]))) {
			return fmt.Errorf("element %d: got %.12g, want %.12g", i, got[i], want[i])
		}
	}
	return nil
}

// session is the program of one golden case.
type session struct {
	*graph.Builder
	golden
	machine *Machine
	read    []*graph.Value          // operands, set from the file
	made    map[string]*graph.Value // results, compared with the file
	repeat  func()                  // a second run, if there is one
}

func setup(t *testing.T, c golden) *session {
	t.Helper()
	s := &session{Builder: graph.NewBuilder(true), golden: c, made: map[string]*graph.Value{}}
	build, ok := map[string]func(){
		"conv": s.conv, "norm": s.norm, "max_pool": s.pool, "average_pool": s.pool, "adaptive_average_pool": s.pool,
		"linear": s.linear, "cross_entropy": s.crossEntropy, "sgd": s.sgd,
		"activation": s.activation, "layer_norm": s.layerNorm, "gate": s.gate, "scale": s.scale,
	}[c.Family]
	if !ok {
		t.Fatalf("family %q is unknown", c.Family)
	}
	build()
	g, err := s.Graph()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Verify(); err != nil {
		t.Fatal(err)
	}
	s.machine = New(g)
	for _, v := range s.read {
		s.machine.Set(v, c.Values[v.Name].Data)
	}
	for name := range s.made {
		if _, ok := c.Values[name]; !ok {
			t.Fatalf("the file has no %q", name)
		}
	}
	return s
}

func (s *session) run() error {
	err := s.machine.Run(0, len(s.Ops()))
	if err == nil && s.repeat != nil {
		s.repeat()
		err = s.machine.Run(0, len(s.Ops()))
	}
	return err
}

// operand declares a value of the file; nil if the file has none of that name.
func (s *session) operand(name string) *graph.Value {
	content, ok := s.Values[name]
	if !ok {
		return nil
	}
	var v *graph.Value
	switch name {
	case "running_mean", "running_variance", "w":
		v = s.Buffer(name, content.Shape, graph.Weight{})
	case "labels":
		v = s.Input(name, content.Shape, graph.TypeS32)
	default:
		v = s.Input(name, content.Shape, graph.TypeF32)
	}
	s.read = append(s.read, v)
	return v
}

func (s *session) last() *graph.Op { return s.Ops()[len(s.Ops())-1] }

func (s *session) result(name string, v *graph.Value) {
	if v != nil {
		s.made[name] = v
	}
}

// option reads a number, or a pair, of the options.
func option[T any](text json.RawMessage) (out T) {
	if err := json.Unmarshal(text, &out); err != nil {
		panic(fmt.Sprintf("testdata/pytorch.json: option %s: %v", text, err))
	}
	return out
}

func (s *session) conv() {
	s.result("y", s.Conv(s.operand("x"), s.operand("weight"), s.operand("bias"), graph.ConvOptions{
		Stride: option[int64](s.Options.Stride), Padding: option[int64](s.Options.Padding),
		Groups: s.Options.Groups, Dilation: s.Options.Dilation,
	}))
	op, dy := s.last(), s.operand("dy")
	s.result("dx", s.ConvBackwardData(op, dy))
	dw, db := s.ConvBackwardWeights(op, dy)
	s.result("dweight", dw)
	s.result("dbias", db)
}

func (s *session) linear() {
	layer := s.Linear
	if s.Options.Rows {
		layer = s.LinearRows
	}
	s.result("y", layer(s.operand("x"), s.operand("weight"), s.operand("bias")))
	op, dy := s.last(), s.operand("dy")
	s.result("dx", s.LinearBackwardData(op, dy))
	dw, db := s.LinearBackwardWeights(op, dy)
	s.result("dweight", dw)
	s.result("dbias", db)
}

func (s *session) activation() {
	s.result("y", s.Activate(s.operand("x"), s.Options.Activation))
	s.result("dx", s.ActivateBackward(s.last(), s.operand("dy")))
}

func (s *session) layerNorm() {
	s.result("y", s.LayerNorm(s.operand("x"), s.operand("gamma"), s.operand("beta"), 1e-3))
	dx, dgamma, dbeta := s.LayerNormBackward(s.last(), s.operand("dy"))
	s.result("dx", dx)
	s.result("dgamma", dgamma)
	s.result("dbeta", dbeta)
}

func (s *session) gate() {
	s.result("y", s.Gate(s.operand("x"), s.operand("z"), s.Options.Activation))
	dx, dz := s.GateBackward(s.last(), s.operand("dy"))
	s.result("dx", dx)
	s.result("dz", dz)
}

func (s *session) scale() {
	s.result("y", s.Scale(s.operand("x"), s.operand("s")))
	dx, ds := s.ScaleBackward(s.last(), s.operand("dy"))
	s.result("dx", dx)
	s.result("ds", ds)
}

func (s *session) norm() {
	x, runningMean, runningVariance := s.operand("x"), s.operand("running_mean"), s.operand("running_variance")
	mean, variance := s.NormStats(x, runningMean, runningVariance, 0.1)
	s.result("mean", mean)
	s.result("variance", variance)
	s.result("moved_mean", runningMean)
	s.result("moved_variance", runningVariance)
	s.result("y", s.NormApply(x, mean, variance, s.operand("gamma"), s.operand("beta"), 1e-3))
	apply := s.last()
	apply.Attr.Activation, apply.Operands[5] = s.Options.Activation, s.operand("residual")
	d := s.NormBackward(apply, s.operand("dy"))
	s.last().Operands[graph.NormBackwardSecondGradient] = s.operand("dy2")
	s.result("dx", d.X)
	s.result("dgamma", d.Gamma)
	s.result("dbeta", d.Beta)
	s.result("dresidual", d.Residual)
}

func (s *session) pool() {
	x, o := s.operand("x"), s.Options.PoolOptions
	if s.Family != "adaptive_average_pool" {
		o.Stride, o.Padding = option[[2]int64](s.Options.Stride), option[[2]int64](s.Options.Padding)
	}
	switch s.Family {
	case "max_pool":
		y, index := s.MaxPool(x, o)
		s.result("y", y)
		s.result("index", index)
		s.result("dx", s.MaxPoolBackward(s.last(), s.operand("dy")))
		return
	case "average_pool":
		s.result("y", s.AveragePool(x, o))
	default:
		s.result("y", s.AdaptiveAveragePool(x, s.Options.Output[0], s.Options.Output[1]))
	}
	s.result("dx", s.AveragePoolBackward(s.last(), s.operand("dy")))
}

func (s *session) crossEntropy() {
	loss, correct, probabilities := s.CrossEntropy(s.operand("logits"), s.operand("labels"))
	s.result("loss", loss)
	s.result("correct", correct)
	s.result("probabilities", probabilities)
	s.result("dlogits", s.CrossEntropyBackward(s.last(), s.Options.Scale))
}

// sgd runs twice: the second gradient meets a momentum that is not zero.
func (s *session) sgd() {
	w, g := s.operand("w"), s.operand("g")
	v, rate := s.Momentum(w), s.operand("lr")
	s.SGD(w, g, v, rate, graph.SGDOptions{Momentum: s.Options.Momentum, WeightDecay: s.Options.WeightDecay,
		Nesterov: s.Options.Nesterov})
	s.result("moved", w)
	s.repeat = func() { s.machine.Set(g, s.Values["g2"].Data) }
}
