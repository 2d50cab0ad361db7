package train_test

import (
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
)

// countingProgram counts how its numbers are read.
type countingProgram struct {
	engine.Program
	reads, together int
}

func (p *countingProgram) Read(v *graph.Value, to any) error {
	p.reads++
	return p.Program.Read(v, to)
}

func (p *countingProgram) ReadNumbers(values []*graph.Value, to []float32) error {
	p.together++
	return engine.ReadNumbers(p.Program, values, to)
}

// TestNumbersInOneCall trains a step of a local method, whose modules have a loss and a count each: one call reads them all,
// and they are the numbers that single reads give.
func TestNumbersInOneCall(t *testing.T) {
	s := newBench(t, "", false).session
	if err := s.Initialise(1); err != nil {
		t.Fatal(err)
	}
	counting := &countingProgram{Program: s.Training.Program}
	s.Training.Program = counting
	out, err := s.Train(make([]byte, 16*32*32*3), make([]int32, 16), 0.1)
	if err != nil {
		t.Fatal(err)
	}
	if counting.reads != 0 || counting.together != 1 {
		t.Errorf("got %d single reads and %d calls for all, want 0 and 1", counting.reads, counting.together)
	}
	if len(s.Training.Losses) < 2 {
		t.Fatalf("got %d modules, want several", len(s.Training.Losses))
	}
	for i, l := range s.Training.Losses {
		x := make([]float32, 1)
		if err := counting.Program.Read(l.Value, x); err != nil {
			t.Fatal(err)
		}
		if out.Losses[i] != x[0] {
			t.Errorf("module %d: got loss %g, want %g", i, out.Losses[i], x[0])
		}
		if l.Correct == nil {
			continue
		}
		if err := counting.Program.Read(l.Correct, x); err != nil {
			t.Fatal(err)
		}
		if out.Correct[i] != x[0] {
			t.Errorf("module %d: got %g correct, want %g", i, out.Correct[i], x[0])
		}
	}
}
