package engine_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/localbench/localbench/core/engine"
)

type rungs []engine.Rung

func (r rungs) Ladder() []engine.Rung { return r }

func TestLadderOf(t *testing.T) {
	for _, row := range []struct {
		name  string
		parts []any
		want  []engine.Rung
	}{
		{"nobody has one", []any{1, nil}, nil},
		{"the device's and the program's, each with its stages", []any{rungs{{engine.StageContext, 400}, {engine.StageArena, 900}}, rungs{{engine.StagePlans, 500}, {engine.StageSteady, 950}}},
			[]engine.Rung{{engine.StageContext, 400}, {engine.StagePlans, 500}, {engine.StageArena, 900}, {engine.StageSteady, 950}}},
		{"the last of a stage", []any{rungs{{engine.StagePlans, 1}, {engine.StagePlans, 2}}, rungs{{engine.StagePlans, 3}}}, []engine.Rung{{engine.StagePlans, 3}}},
		{"a stage of the backend's own", []any{rungs{{"ring", 7}, {engine.StageGraph, 6}}}, []engine.Rung{{engine.StageGraph, 6}, {"ring", 7}}},
	} {
		if d := cmp.Diff(row.want, engine.LadderOf(row.parts...)); d != "" {
			t.Errorf("%s: %s", row.name, d)
		}
	}
	d, err := engine.Open("reference", engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := engine.LadderOf(d); got != nil {
		t.Errorf("the reference backend: got %v, want no ladder", got)
	}
}
