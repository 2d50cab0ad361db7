package engine_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/localbench/localbench/core/engine"
)

type stages []engine.StageMemory

func (r stages) SetupMemory() []engine.StageMemory { return r }

func TestSetupMemoryOf(t *testing.T) {
	for _, row := range []struct {
		name  string
		parts []any
		want  []engine.StageMemory
	}{
		{"no part has any", []any{1, nil}, nil},
		{"the device's and the program's, each with its stages", []any{stages{{engine.StageContext, 400}, {engine.StageArena, 900}},
			stages{{engine.StagePlans, 500}, {engine.StageSteady, 950}}},
			[]engine.StageMemory{{engine.StageContext, 400}, {engine.StagePlans, 500}, {engine.StageArena, 900},
				{engine.StageSteady, 950}}},
		{"the last of a stage", []any{stages{{engine.StagePlans, 1}, {engine.StagePlans, 2}}, stages{{engine.StagePlans, 3}}},
			[]engine.StageMemory{{engine.StagePlans, 3}}},
		{"a stage of the backend's own", []any{stages{{"ring", 7}, {engine.StageGraph, 6}}},
			[]engine.StageMemory{{engine.StageGraph, 6}, {"ring", 7}}},
	} {
		if d := cmp.Diff(row.want, engine.SetupMemoryOf(row.parts...)); d != "" {
			t.Errorf("%s: %s", row.name, d)
		}
	}
	d, err := engine.Open("reference", engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := engine.SetupMemoryOf(d); got != nil {
		t.Errorf("the reference backend: got %v, want no stages", got)
	}
}
