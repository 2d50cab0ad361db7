package frontier

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/localbench/localbench/results"
)

// The p-values are those of SciPy 1.17: scipy.stats.ttest_ind(a, b, equal_var=False, alternative="greater").
func TestBetter(t *testing.T) {
	for _, row := range []struct {
		a, b []float64
		want float64
	}{
		{[]float64{0.85, 0.86, 0.87}, []float64{0.80, 0.82, 0.81}, 0.001801},
		{[]float64{0.80, 0.82, 0.81}, []float64{0.85, 0.86, 0.87}, 0.998199},
		{[]float64{1, 2, 3, 4}, []float64{1, 1.5, 2}, 0.114471},
		{[]float64{0.9}, []float64{0.1, 0.2}, 1},
		{[]float64{0.9, 0.9}, []float64{0.8, 0.8}, 0},
		{[]float64{0.8, 0.8}, []float64{0.8, 0.8}, 1},
	} {
		if got := better(row.a, row.b); math.Abs(got-row.want) > 1e-5 {
			t.Errorf("%v and %v: p = %.6f, want %.6f", row.a, row.b, got, row.want)
		}
	}
}

// record is a finished run.
func record(method string, seed uint64, mebibytes int64, ms, top1 float64, change func(*results.Record)) results.Record {
	r := results.Record{Status: results.StatusDone, Spec: results.Spec{Method: method, Network: "resnet20", Dataset: "cifar10",
		Batch: 128, Precision: "f32", Backend: "cpu", Seed: seed, Epochs: 12, LR: 0.1}}
	r.Environment.CPU = "one machine"
	r.Memory.StepArenaBytes = new(mebibytes << 20)
	r.Time.StepSeconds = &results.Distribution{Median: ms / 1e3, N: 10}
	r.Accuracy.LastTop1 = &top1
	if change != nil {
		change(&r)
	}
	return r
}

// seeds are three runs around an accuracy.
func seeds(method string, mebibytes int64, ms, top1 float64) (all []results.Record) {
	for i := range uint64(3) {
		all = append(all, record(method, i+1, mebibytes, ms, top1+0.001*(float64(i)-1), nil))
	}
	return all
}

func verdicts(t Task) map[string]Verdict {
	all := map[string]Verdict{}
	for _, p := range t.Points {
		all[p.Label] = p.Verdict
	}
	return all
}

func TestVerdicts(t *testing.T) {
	records := seeds("bp", 200, 80, 0.90)
	records = append(records, seeds("auglocal", 80, 150, 0.88)...)
	records = append(records, seeds("dgl", 60, 90, 0.80)...)
	records = append(records, seeds("predsim", 90, 160, 0.85)...)   // worse than auglocal in everything
	records = append(records, seeds("infopro", 85, 155, 0.8801)...) // a lead that three seeds do not show
	records = append(records, record("man", 1, 95, 170, 0.70, nil)) // of one seed nothing is shown
	tasks := Of(records, nil)
	if len(tasks) != 1 {
		t.Fatalf("%d tasks, want 1", len(tasks))
	}
	want := map[string]Verdict{"bp": Front, "auglocal": Front, "dgl": Front, "predsim": Dominated, "infopro": Front, "man": Open}
	for label, v := range verdicts(tasks[0]) {
		if v != want[label] {
			t.Errorf("%s: %s, want %s", label, v, want[label])
		}
	}
}

// bp with a budget was trained for one epoch, to be timed. It has bp's bits, and so bp's accuracy; checkpoint needs more
// memory and is slower.
func TestSameBits(t *testing.T) {
	budget := func(bytes string) func(*results.Record) {
		return func(r *results.Record) { r.Spec.Options, r.Spec.Epochs = map[string]string{"budget": bytes}, 1 }
	}
	trained := seeds("bp", 200, 500, 0.90) // on a loaded machine: its times do not count
	timed := []results.Record{record("bp", 1, 200, 80, 0.4, nil), record("bp", 1, 90, 85, 0.4, budget("94371840")),
		record("checkpoint", 1, 100, 100, 0.4, func(r *results.Record) { r.Spec.Epochs = 1 }),
		record("dgl", 1, 60, 90, 0.3, nil)} // never trained to the end: no accuracy, no point
	task := Of(trained, timed)[0]
	want := map[string]Verdict{"bp": Front, "bp, budget 90.00 MiB": Front, "checkpoint": Dominated}
	got := verdicts(task)
	if len(got) != len(want) {
		t.Fatalf("points %v, want %v", got, want)
	}
	for label, v := range want {
		if got[label] != v {
			t.Errorf("%s: %s, want %s", label, got[label], v)
		}
	}
	for _, p := range task.Points {
		if len(p.Top1) != 3 || (p.SameBitsAs == "") != (p.Label == "bp") {
			t.Errorf("%s: %d accuracies, same bits as %q: want the three of bp", p.Label, len(p.Top1), p.SameBitsAs)
		}
		if p.Label == "bp" && *p.StepSeconds != 0.08 {
			t.Errorf("bp: %g s, want the 0.08 s of the timed record", *p.StepSeconds)
		}
	}
}

// Programs that only recompute differently have the same bits, so one accuracy; those that round elsewhere have their own.
func TestClasses(t *testing.T) {
	of := func(method, precision string, options ...string) string {
		s := results.Spec{Method: method, Network: "n", Dataset: "d", Batch: 8, Precision: precision, Options: map[string]string{}}
		for i := 0; i < len(options); i += 2 {
			s.Options[options[i]] = options[i+1]
		}
		return results.SpecID(class(s))
	}
	plain, fused := of("bp", "f32"), of("bp", "f32", "fuse_norm", "input")
	for what, id := range map[string]string{"checkpoint": of("checkpoint", "f32"),
		"recomputed": of("bp", "f32", "recompute", "norm")} {
		if id != plain {
			t.Errorf("%s: another class than bp", what)
		}
	}
	if of("bp", "f32", "fuse_norm", "input", "recompute", "norm", "budget", "4096") != fused {
		t.Error("fused and recomputed: another class than fused")
	}
	apart := map[string]string{}
	for what, id := range map[string]string{"plain": plain, "fused": fused,
		"checkpoint, fused": of("checkpoint", "f32", "fuse_norm", "input"), "bf16": of("bp", "bf16"),
		"stored": of("bp", "f32", "store", "int8"), "stored, fused": of("bp", "f32", "store", "int8", "fuse_norm", "input"),
		"stored, recomputed": of("bp", "f32", "store", "int8", "recompute", "norm")} {
		if other, ok := apart[id]; ok {
			t.Errorf("%s and %s are of one class", what, other)
		}
		apart[id] = what
	}
}

// Runs of the same bits and seed with different accuracies are noted; unfinished ones and other recipes do not mix.
func TestTasksAndNotes(t *testing.T) {
	records := seeds("bp", 200, 80, 0.90)
	records = append(records, record("checkpoint", 2, 100, 100, 0.95, nil),
		record("dgl", 1, 60, 90, 0.8, func(r *results.Record) { r.Status = results.StatusInterrupted }),
		record("dgl", 1, 60, 90, 0.8, func(r *results.Record) { r.Spec.Epochs = 3 }))
	tasks := Of(records, nil)
	if len(tasks) != 2 || tasks[0].Epochs != 3 || len(tasks[0].Points) != 1 || len(tasks[1].Points) != 2 {
		t.Fatalf("tasks %+v, want one of 3 epochs with dgl and one of 12 with bp and checkpoint", tasks)
	}
	if len(tasks[1].Notes) != 1 {
		t.Errorf("notes %q, want one about seed 2", tasks[1].Notes)
	}
}

// A timed run that has the bits of no trained one is no point, and the labels of the others don't tell it apart.
func TestTimedAlone(t *testing.T) {
	infopro := func(mode, coefficients string, modules int64) results.Record {
		return record("infopro", 1, 70, 200, 0.64, func(r *results.Record) {
			r.Spec.Modules, r.Spec.Options = modules, map[string]string{"mode": mode, "coefficients": coefficients}
		})
	}
	trained := []results.Record{record("bp", 1, 200, 70, 0.85, nil), infopro("softmax", "1,2,3,4", 10)}
	tasks := Of(trained, append(trained, infopro("contrast", "5,6,7,8", 4)))
	if len(tasks) != 1 || len(tasks[0].Points) != 2 {
		t.Fatalf("got %v, want one task of two points", tasks)
	}
	for i, want := range []string{"infopro", "bp"} {
		if got := tasks[0].Points[i].Label; got != want {
			t.Errorf("point %d: label %q, want %q", i, got, want)
		}
	}
}

// Runs of different schedules or backends are not points of one table, and do not lend each other their accuracy: bp of seed 1
// has 0.90 with one learning rate, 0.80 with another one, and so on.
func TestTasksOfOneRecipe(t *testing.T) {
	records := []results.Record{
		record("bp", 1, 200, 80, 0.90, nil),
		record("bp", 1, 200, 80, 0.80, func(r *results.Record) { r.Spec.LR = 0.4 }),
		record("bp", 1, 200, 80, 0.70, func(r *results.Record) { r.Spec.WarmupEpochs = new(int64(1)) }),
		record("bp", 1, 201, 2, 0.60, func(r *results.Record) { r.Spec.Backend = "cuda" }),
		record("checkpoint", 1, 100, 90, 0.90, nil),
		record("bp", 1, 110, 70, 0.91, func(r *results.Record) { r.Spec.Precision = "bf16" }),
	}
	timed := []results.Record{record("bp", 1, 201, 3, 0, func(r *results.Record) { r.Spec.Backend = "cuda" })}
	want := map[string][]string{
		"resnet20 on cifar10, 12 epochs, cpu, lr 0.1":            {"bp, bf16", "bp, f32", "checkpoint, f32"},
		"resnet20 on cifar10, 12 epochs, cpu, lr 0.4":            {"bp"},
		"resnet20 on cifar10, 12 epochs, cpu, lr 0.1, warm-up 1": {"bp"},
		"resnet20 on cifar10, 12 epochs, cuda, lr 0.1":           {"bp"},
	}
	got := map[string][]string{}
	for _, task := range Of(records, timed) {
		for _, p := range task.Points {
			got[task.Title()] = append(got[task.Title()], p.Label)
			if (p.StepSeconds != nil) != (task.Title() == "resnet20 on cifar10, 12 epochs, cuda, lr 0.1") {
				t.Errorf("%s, %s: got a step time of %v, want one for cuda only", task.Title(), p.Label, p.StepSeconds)
			}
		}
		slices.Sort(got[task.Title()])
		if task.Notes != nil {
			t.Errorf("%s: got notes %q, want none", task.Title(), task.Notes)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// On a GPU the runs of one program differ in rounding unless its kernels were chosen not to.
func TestSameBitsOnAGPU(t *testing.T) {
	for options, want := range map[string]string{"": "bp, but for rounding", "yes": "bp"} {
		var records []results.Record
		for _, method := range []string{"bp", "checkpoint"} {
			r := record(method, 1, 100, 80, 0.9, nil)
			if method == "bp" {
				r.Memory.StepArenaBytes = new(int64(200 << 20))
			}
			r.Spec.Backend = "cuda"
			if options != "" {
				r.Spec.Options = map[string]string{"deterministic": options}
			}
			records = append(records, r)
		}
		var got []string
		for _, row := range Of(records, nil)[0].Table().Rows {
			got = append(got, row[5].Text)
		}
		if d := cmp.Diff([]string{"", want}, slices.Sorted(slices.Values(got))); d != "" {
			t.Errorf("deterministic %q: %s", options, d)
		}
	}
}
