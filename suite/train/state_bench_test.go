package train_test

import (
	"path/filepath"
	"testing"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/networks"
	"github.com/localbench/localbench/suite/train"
	"github.com/localbench/localbench/suite/weights"
)

// newSession is a session of one network by back-propagation, batch 1, without evaluation.
func newSession(t testing.TB, network string, image graph.Shape) *train.Session {
	t.Helper()
	n, err := networks.New(network, image, 1000)
	if err != nil {
		t.Fatal(err)
	}
	m, err := methods.Find("bp")
	if err != nil {
		t.Fatal(err)
	}
	stages, err := m.Stages(n, methods.Options{})
	if err != nil {
		t.Fatal(err)
	}
	device, err := engine.Open("cpu", engine.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	s, err := train.NewSession(device, train.SessionOptions{Stages: stages, Step: core.StepOptions{Batch: 1, Image: n.Input,
		Mean: [4]float64{1, 1, 1, 1}, Deviation: [4]float64{1, 1, 1, 1}, Optimizer: graph.SGDOptions{Momentum: 0.9, WeightDecay: 1e-4,
			Nesterov: true}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); device.Close() })
	return s
}

// BenchmarkState saves and loads parameters, running statistics and momentum of ResNet-50, and
// initialises them.
func BenchmarkState(b *testing.B) {
	s := newSession(b, "resnet50", graph.Shape{224, 224, 3})
	if err := s.Initialise(1); err != nil {
		b.Fatal(err)
	}
	var bytes int64
	for _, v := range s.Persistent() {
		bytes += v.Bytes()
	}
	path := filepath.Join(b.TempDir(), "state")
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"save", func() error { return weights.SaveChecked(path, "", s.Training, s.Persistent(), map[string]string{}) }},
		{"load", func() error { _, err := weights.LoadChecked(path, s.Training, s.Persistent()); return err }},
		{"initialise", func() error { return s.Initialise(1) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(bytes)
			b.ReportAllocs()
			for b.Loop() {
				if err := c.do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
