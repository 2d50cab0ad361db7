package results

import (
	"os"
	"path/filepath"
	"testing"
)

// Before step_arena_bytes, arena_bytes was the arena of the training step in planned records and that of the run in others.
func TestOldArenas(t *testing.T) {
	const spec = `"spec":{"method":"bp","network":"resnet20","dataset":"cifar10","batch":8,"precision":"f32","backend":"cpu"}`
	for name, c := range map[string]struct {
		text        string
		step, arena int64 // 0: absent
	}{
		"old plan": {`{"schema":1,"id":"x","status":"done",` + spec + `,"memory":{"arena_bytes":7}}`, 7, 0},
		"old run": {`{"schema":1,"id":"x","status":"done","started":"2026-01-02T03:04:05Z",` + spec +
			`,"memory":{"arena_bytes":7}}`, 0, 7},
		"plan": {`{"schema":1,"id":"x","status":"done",` + spec + `,"memory":{"step_arena_bytes":5,"arena_bytes":7}}`, 5, 7},
		"run": {`{"schema":1,"id":"x","status":"done","started":"2026-01-02T03:04:05Z",` + spec +
			`,"memory":{"step_arena_bytes":5,"arena_bytes":7}}`, 5, 7},
		"no arena yet": {`{"schema":1,"id":"x","status":"failed",` + spec + `}`, 0, 0},
	} {
		path := filepath.Join(t.TempDir(), "x.json")
		if err := os.WriteFile(path, []byte(c.text), 0o666); err != nil {
			t.Fatal(err)
		}
		r, err := Read(path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		value := func(p *int64) int64 {
			if p == nil {
				return 0
			}
			return *p
		}
		if step, arena := value(r.Memory.StepArenaBytes), value(r.Memory.ArenaBytes); step != c.step || arena != c.arena {
			t.Errorf("%s: step arena %d, arena %d, want %d and %d", name, step, arena, c.step, c.arena)
		}
	}
}
