package results

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func seeded(seed uint64, top1 float64) Record {
	r := full()
	r.Spec.Seed, r.Accuracy.BestTop1 = seed, new(top1)
	r.ID = SpecID(r.Spec)
	return r
}

func bestTop1(r Record) *float64 { return r.Accuracy.BestTop1 }

func TestSeedsAreAveraged(t *testing.T) {
	groups, notes := Groups([]Record{seeded(3, 0.90), seeded(1, 0.92), seeded(2, 0.94)})
	if len(groups) != 1 || len(notes) != 0 {
		t.Fatalf("got %d groups, notes %v, want one group", len(groups), notes)
	}
	if d := cmp.Diff([]uint64{1, 2, 3}, groups[0].Seeds()); d != "" {
		t.Error(d)
	}
	got, ok := groups[0].Estimate(bestTop1)
	// By hand: mean 0.92, sample variance (0.02^2 + 0 + 0.02^2)/2 = 0.0004.
	if !ok || math.Abs(got.Mean-0.92) > 1e-15 || math.Abs(got.SD-0.02) > 1e-15 || got.N != 3 {
		t.Errorf("got %+v %v, want 0.92 +- 0.02 of 3", got, ok)
	}
}

// The planted faults: one field off by something, and the average must not happen.
func TestNothingButTheSeedIsAveragedOver(t *testing.T) {
	for name, change := range map[string]func(*Record){
		"batch":                        func(r *Record) { r.Spec.Batch = 512 },
		"lr":                           func(r *Record) { r.Spec.LR = 0.1 },
		"pyramid":                      func(r *Record) { r.Spec.Pyramid = false },
		"device":                       func(r *Record) { r.Spec.Device = "1" },
		"options.mode":                 func(r *Record) { r.Spec.Options = map[string]string{"mode": "contrast"} },
		"options.extra":                func(r *Record) { r.Spec.Options = map[string]string{"mode": "softmax", "extra": "1"} },
		"environment.commit":           func(r *Record) { r.Environment.Commit = "def" },
		"environment.threads":          func(r *Record) { r.Environment.Threads = nil },
		"environment.libraries.onednn": func(r *Record) { r.Environment.Libraries = nil },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := seeded(1, 0.9), seeded(2, 0.8)
			change(&b)
			if d := cmp.Diff([]string{name}, Residue(a, b)); d != "" {
				t.Error(d)
			}
			groups, notes := Groups([]Record{a, b})
			if len(groups) != 2 {
				t.Errorf("got %d groups, want 2", len(groups))
			}
			elsewhere := strings.HasPrefix(name, "environment.")
			if noted := len(notes) == 1 && strings.Contains(notes[0], name); noted != elsewhere {
				t.Errorf("got notes %q, want one only for an environment that differs", notes)
			}
		})
	}
}

func TestRunsThatDidNotFinishStandAlone(t *testing.T) {
	a, b, c := seeded(1, 0.9), seeded(2, 0.9), seeded(3, 0.9)
	b.Status, c.Status = StatusDiverged, StatusDiverged
	if groups, _ := Groups([]Record{a, b, c}); len(groups) != 3 {
		t.Errorf("got %d groups, want 3", len(groups))
	}
}

func TestASeedCountsOnce(t *testing.T) {
	early, late := seeded(1, 0.5), seeded(1, 0.9)
	late.Started = early.Started.Add(time.Hour)
	for _, order := range [][]Record{{early, late}, {late, early}} {
		groups, notes := Groups(order)
		got, _ := groups[0].Estimate(bestTop1)
		if got != (Estimate{0.9, 0, 1}) || len(notes) != 1 || !strings.Contains(notes[0], "seed 1 was run more than once") {
			t.Errorf("got %+v, notes %v, want the later run and a note", got, notes)
		}
	}
}

func TestEstimateOfEqualValuesIsExact(t *testing.T) {
	size := func(r Record) *int64 { return r.Memory.PlannedPeakBytes }
	var records []Record
	for seed := range uint64(3) {
		r := seeded(seed, 0.1)
		r.Memory.PlannedPeakBytes = new(int64(1<<53 - 1))
		records = append(records, r)
	}
	groups, _ := Groups(records)
	if got, ok := groups[0].Estimate(Bytes(size)); !ok || got != (Estimate{1<<53 - 1, 0, 3}) {
		t.Errorf("got %+v, want %d exactly", got, int64(1<<53-1))
	}
	groups[0].Records[0].Memory.PlannedPeakBytes = nil
	if got, _ := groups[0].Estimate(Bytes(size)); got.N != 2 {
		t.Errorf("got n = %d, want 2: one was not measured", got.N)
	}
	if _, ok := groups[0].Estimate(func(Record) *float64 { return nil }); ok {
		t.Error("got an estimate of nothing")
	}
}

func TestVarying(t *testing.T) {
	bare := seeded(1, 0.9) // a method without settings
	bare.Spec.Method, bare.Spec.AuxDepth, bare.Spec.Modules, bare.Spec.Pyramid = "bp", 0, 0, false
	bare.Spec.PyramidCoefficient, bare.Spec.Selection, bare.Spec.Options = 0, "", nil
	for name, row := range map[string]struct {
		change func(*Record)
		want   []string
	}{
		"only the seed":                     {func(r *Record) { r.Spec.Seed = 7 }, []string{"method"}},
		"two depths of one method":          {func(r *Record) { r.Spec.AuxDepth = 5 }, []string{"method", "aux_depth"}},
		"a method with and without pyramid": {func(r *Record) { r.Spec.Pyramid = false }, []string{"method", "pyramid"}},
		"a limit that others do not have":   {func(r *Record) { r.Spec.TrainLimit = 0 }, []string{"method", "train_limit"}},
		"an option": {func(r *Record) { r.Spec.Options = map[string]string{"mode": "x"} },
			[]string{"method", "options.mode"}},
		"a run that never began": {func(r *Record) { r.Environment = Environment{} }, []string{"method"}},
		"a library": {func(r *Record) { r.Environment.Libraries = nil },
			[]string{"method", "environment.libraries.onednn"}},
	} {
		changed := seeded(2, 0.9)
		row.change(&changed)
		for _, records := range [][]Record{{bare, seeded(1, 0.9), changed}, {changed, seeded(1, 0.9), bare}} {
			if d := cmp.Diff(row.want, Varying(records)); d != "" {
				t.Errorf("%s: %s", name, d)
			}
		}
	}
	if got := Varying(nil); len(got) != 0 {
		t.Errorf("nothing: got %v", got)
	}
	// Every method has --store, so that a run without has another value; only InfoPro has a mode.
	stored, mode := bare, bare
	stored.Spec.Options = map[string]string{"store": "int8"}
	mode.Spec.Method, mode.Spec.Options = "infopro", map[string]string{"mode": "softmax"}
	other := bare
	other.Spec.Method = "dgl"
	if d := cmp.Diff([]string{"method", "options.store"}, Varying([]Record{stored, other, mode})); d != "" {
		t.Errorf("an option that every method has: %s", d)
	}
}
