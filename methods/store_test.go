package methods_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/train"
)

// gradients trains steps with these numbers, each from the same weights, and returns the losses of the first, and of each step
// the gradients of all parameters, one after the other. Before a step momentum is zero, so that after it momentum is the
// gradient and the weight decay.
func gradients(t *testing.T, network, method string, trade core.StepOptions, steps ...uint32) (losses []float32,
	all [][]float64) {
	t.Helper()
	s := sessionWith(t, network, method, methods.Options{}, trade)
	defer s.Close()
	return gradientsOf(t, s, steps...)
}

// gradientsOf is gradients of a session.
func gradientsOf(t *testing.T, s *train.Session, steps ...uint32) (losses []float32, all [][]float64) {
	t.Helper()
	before := map[string][]float32{}
	for _, v := range s.Persistent() {
		before[v.Name] = content(t, s, v)
	}
	images, labels := goldenBatch(3, 0, 8)
	for i, step := range steps {
		for _, v := range s.Persistent() {
			if err := s.Training.Write(v, before[v.Name]); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Feed(train.Batch{Images: images, Labels: labels, Seed: 3, Step: step}, 0.05); err != nil {
			t.Fatal(err)
		}
		out, err := s.Step()
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			losses = out.Losses
		}
		var g []float64
		for _, v := range s.Persistent() {
			if v.Category != graph.CategoryOptimizer {
				continue
			}
			weight := before[strings.TrimSuffix(v.Name, ".momentum")]
			for i, m := range content(t, s, v) {
				g = append(g, float64(m)-1e-4*float64(weight[i]))
			}
		}
		all = append(all, g)
	}
	return losses, all
}

// TestGradientsInBF16 compares the gradients of a step in bf16 with those in f32, with convolutions that multiply f32 and with
// F(4, 3), which rounds transformed operands. At a batch of 8 normalisations multiply roundings, so with bp the error is large in
// both: F(4, 3) may add a half. docs/memory.md has the figures that this prints.
func TestGradientsInBF16(t *testing.T) {
	enginetest.NeedsCPU(t)
	for _, network := range []string{"resnet20", "resnet32"} {
		for _, method := range []string{"bp", "auglocal"} {
			if testing.Short() && (network != "resnet20" || method != "auglocal") {
				continue
			}
			_, exact := gradients(t, network, method, core.StepOptions{}, 0)
			off := map[string]float64{}
			for _, kernel := range []string{"winograd F(4x4, 3x3)", "winograd F(4, 3)"} {
				d := enginetest.Open(t, "cpu", engine.Options{Threads: 1, PlanBook: kernel})
				s, err := sessionOn(t, d, network, method, methods.Options{}, core.StepOptions{Mixed: true}, 0)
				if err != nil {
					t.Fatal(err)
				}
				_, all := gradientsOf(t, s, 0)
				off[kernel] = relativeError(all[0], exact[0])
			}
			f32, rows := off["winograd F(4x4, 3x3)"], off["winograd F(4, 3)"]
			t.Logf("%s %s: relative error of the gradients %.4f, with F(4, 3) %.4f", network, method, f32, rows)
			if d := enginetest.Open(t, "cpu", engine.Options{}); d.Facts()["isa"] == "default" {
				continue // neither kernel is there
			}
			if !(rows > f32 && rows <= 1.5*f32) {
				t.Errorf("%s %s: the gradients err by %g with F(4, 3), want more than %g and at most half more", network, method, rows,
					f32)
			}
		}
	}
}

// relativeError is the Euclidean norm of got - want, relative to that of want.
func relativeError(got, want []float64) float64 {
	difference, norm := 0.0, 0.0
	for i := range want {
		difference += (got[i] - want[i]) * (got[i] - want[i])
		norm += want[i] * want[i]
	}
	return math.Sqrt(difference / norm)
}

// TestStoredActivations: in every format the losses of a step are those of f32 to the bit, because the forward pass is exact,
// and a step that is run again has the same gradients to the bit. The error of the gradients, relative to all of f32, is
// bounded; in int8 and int4 also that of the mean of 16 steps, which differ in the rounding only: without bias it is a quarter
// of the error of one. Recomputing from activations in int4 adds some bias. docs/memory.md has the figures that this prints.
func TestStoredActivations(t *testing.T) {
	for _, network := range []string{"resnet20", "resnet32"} {
		for _, m := range methods.List() {
			if testing.Short() && (network != "resnet20" || m.Name != "bp" && m.Name != "auglocal") {
				continue
			}
			losses, exact := gradients(t, network, m.Name, core.StepOptions{}, 0)
			testStored(t, network, m.Name, core.StepOptions{}, losses, exact[0])
			if network == "resnet20" {
				testStored(t, network, m.Name, core.StepOptions{RecomputeNorm: true}, losses, exact[0])
				for _, fuse := range []core.FuseNorm{core.FuseNormInput, core.FuseNormGradient, core.FuseNormAll} {
					fused := core.StepOptions{FuseNorm: fuse}
					losses, exact := gradients(t, network, m.Name, fused, 0) // equal to those above within rounding
					testStored(t, network, m.Name, fused, losses, exact[0])
					fused.RecomputeNorm = true
					testStored(t, network, m.Name, fused, losses, exact[0])
				}
			}
		}
	}
}

// testStored compares the formats, with the other options of a step, with losses and gradients of f32.
func testStored(t *testing.T, network, method string, o core.StepOptions, losses []float32, exact []float64) {
	t.Helper()
	line := fmt.Sprintf("%s %s, recomputed norms %v, fused norms %03b:", network, method, o.RecomputeNorm, o.FuseNorm)
	for _, c := range []struct {
		format graph.StoreFormat
		most   float64 // error of the gradients
	}{{graph.StoreBF16, 0.02}, {graph.StoreInt8, 0.05}, {graph.StoreInt4, 0.8}} {
		const runs = 16
		var steps []uint32
		for step := range uint32(runs) {
			steps = append(steps, step)
		}
		o.Store = c.format
		got, all := gradients(t, network, method, o, append(steps, 0)...)
		if !sameBits(got, losses) {
			t.Errorf("%s %s: losses %v, want those of f32: %v", line, c.format, got, losses)
		}
		if !slices.Equal(all[0], all[runs]) {
			t.Errorf("%s %s: the same step has other gradients the second time", line, c.format)
		}
		off := relativeError(all[0], exact)
		line += fmt.Sprintf(" %s %.4f", c.format, off)
		if off == 0 || off > c.most {
			t.Errorf("%s: relative error of the gradients %g, want more than 0 and at most %g", line, off, c.most)
		}
		if c.format == graph.StoreBF16 {
			continue
		}
		mean := make([]float64, len(exact))
		for _, g := range all[:runs] {
			for i := range mean {
				mean[i] += g[i] / runs
			}
		}
		left := relativeError(mean, exact)
		if line += fmt.Sprintf(" (mean of %d %.4f)", runs, left); left > 0.6*off {
			t.Errorf("%s: the mean of %d gradients errs by %g, want at most 0.6 of %g", line, runs, left, off)
		}
	}
	t.Log(line)
}
