package train_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/suite/datasets"
	"github.com/localbench/localbench/suite/networks"
	"github.com/localbench/localbench/suite/train"
)

// bench is a small run: 72 synthetic images in batches of 16, the last of 8.
type bench struct {
	session *train.Session
	options train.Options
}

func newBench(t *testing.T, state string, ahead bool) *bench {
	t.Helper()
	return benchOf(t, "resnet20", "auglocal", state, ahead)
}

// benchOf is newBench of a network under a method, with its dropout; of MobileNetV2 it has the first two
// units and the head.
func benchOf(t *testing.T, network, method, state string, ahead bool) *bench {
	t.Helper()
	return benchWith(t, network, method, state, ahead,
		core.StepOptions{Optimizer: graph.SGDOptions{Momentum: 0.9, WeightDecay: 1e-4, Nesterov: true}})
}

// benchWith is a bench whose step has the optimizer and the precision of the options given.
func benchWith(t *testing.T, network, method, state string, ahead bool, step core.StepOptions) *bench {
	t.Helper()
	entry, err := datasets.Find("synthetic")
	if err != nil {
		t.Fatal(err)
	}
	data, err := entry.Open("", datasets.Options{TrainLimit: 72, TestLimit: 40})
	if err != nil {
		t.Fatal(err)
	}
	n, err := networks.New(network, graph.Shape{32, 32, 3}, 10)
	if err != nil {
		t.Fatal(err)
	}
	if network == "mobilenetv2" {
		n.Units = n.Units[:2]
	}
	m, err := methods.Find(method)
	if err != nil {
		t.Fatal(err)
	}
	stages, err := m.Stages(n, methods.Options{})
	if err != nil {
		t.Fatal(err)
	}
	device, err := engine.Open("cpu", engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	o := train.SessionOptions{Stages: stages, Evaluation: true, TrainTail: train.Tail(72, 16), TestTail: train.Tail(40, 16),
		ValTail: 4, Step: core.StepOptions{Batch: 16, Image: n.Input, Dropout: true,
			Optimizer: step.Optimizer, Mixed: step.Mixed}}
	copy(o.Step.Mean[:], data.Mean)
	copy(o.Step.Deviation[:], data.Std)
	if ahead {
		a := data.Augment
		o.Step.KeepInputs, o.Step.Augment = true, core.Augmentation{Pad: int64(a.Pad), Reflect: a.Border == datasets.BorderReflect,
			Flip: a.Flip}
	}
	s, err := train.NewSession(device, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); device.Close() })
	return &bench{session: s, options: train.Options{
		ID: "run", Seed: 3, Batch: 16, Data: data, Augment: data.Augment, Now: time.Now,
		Schedule: train.Schedule{Base: 0.05, Epochs: 3, Warmup: 1}, StatePath: state}}
}

// content returns every persistent value.
func (b *bench) content(t *testing.T) map[string][]float32 {
	t.Helper()
	out := map[string][]float32{}
	for _, v := range b.session.Persistent() {
		x := make([]float32, v.Shape.Elements())
		if err := b.session.Training.Read(v, x); err != nil {
			t.Fatal(err)
		}
		out[v.Name] = x
	}
	return out
}

// TestResumeGivesTheSameBits interrupts a run in the middle of an epoch, and
// again at an epoch's end, each time goes on in a fresh session, and wants every
// weight, running statistic, momentum and figure of the uninterrupted run. So does a session
// that is fed while a step runs and whose device changes the images. MobileNetV2 has dropout: what a
// step drops is the same after an interruption.
func TestResumeGivesTheSameBits(t *testing.T) {
	for _, ahead := range []bool{false, true} {
		sgd := core.StepOptions{Optimizer: graph.SGDOptions{Momentum: 0.9, WeightDecay: 1e-4, Nesterov: true}}
		t.Run(fmt.Sprint("ahead ", ahead), func(t *testing.T) { testResume(t, "resnet20", "auglocal", ahead, sgd) })
		t.Run(fmt.Sprint("with dropout, ahead ", ahead), func(t *testing.T) { testResume(t, "mobilenetv2", "bp", ahead, sgd) })
	}
}

// TestResumeWithAdaptiveOptimizers is TestResumeGivesTheSameBits for optimizers with more state. The step of Adam depends on its
// number, which a resumed run continues.
func TestResumeWithAdaptiveOptimizers(t *testing.T) {
	for name, o := range map[string]graph.Optimizer{
		"adamw":   graph.AdamOptions{Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 0.01, Decoupled: true},
		"rmsprop": graph.RMSpropOptions{Alpha: 0.99, Epsilon: 1e-3, Momentum: 0.9},
	} {
		t.Run(name, func(t *testing.T) { testResume(t, "resnet20", "dgl", name == "adamw", core.StepOptions{Optimizer: o}) })
	}
}

// TestResumeInBF16 is TestResumeGivesTheSameBits in bf16: what a state keeps is in f32.
func TestResumeInBF16(t *testing.T) {
	for method, ahead := range map[string]bool{"bp": false, "auglocal": true} {
		t.Run(method, func(t *testing.T) {
			b := testResume(t, "resnet20", method, ahead, core.StepOptions{Mixed: true,
				Optimizer: graph.SGDOptions{Momentum: 0.9, WeightDecay: 1e-4, Nesterov: true}})
			if !slices.ContainsFunc(b.session.Training.Graph.Values, func(v *graph.Value) bool { return v.Type == graph.TypeBF16 }) {
				t.Error("the step has no value in bf16")
			}
		})
	}
}

// testResume returns the bench of the uninterrupted run.
func testResume(t *testing.T, network, method string, ahead bool, step core.StepOptions) *bench {
	t.Helper()
	whole := benchWith(t, network, method, "", false, step)
	want, err := train.Run(context.Background(), whole.session, whole.options)
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(t.TempDir(), "state.safetensors")
	var got *train.Report
	for _, stop := range []func(train.Tick) bool{
		func(k train.Tick) bool { return k.Epoch == 1 && k.Step == 3 },
		func(k train.Tick) bool { return k.Finished != nil && k.Epoch == 2 },
		func(train.Tick) bool { return false },
	} {
		b := benchWith(t, network, method, state, ahead, step)
		ctx, cancel := context.WithCancel(context.Background())
		b.options.Resume = true
		b.options.On = func(k train.Tick) {
			if stop(k) {
				cancel()
			}
		}
		got, err = train.Run(ctx, b.session, b.options)
		interrupted := ctx.Err() != nil
		cancel()
		if interrupted != (err != nil) || (interrupted && !errors.Is(err, context.Canceled)) {
			t.Fatalf("interrupted %v, error %v", interrupted, err)
		}
		whole.options.StatePath = ""
		if interrupted {
			continue
		}
		a, c := whole.content(t), b.content(t)
		for name := range a {
			for i := range a[name] {
				if math.Float32bits(a[name][i]) != math.Float32bits(c[name][i]) {
					t.Fatalf("%s[%d]: %g after resuming, want %g", name, i, c[name][i], a[name][i])
				}
			}
		}
	}
	if len(got.Epochs) != len(want.Epochs) {
		t.Fatalf("%d epochs, want %d", len(got.Epochs), len(want.Epochs))
	}
	for i := range want.Epochs {
		if *got.Epochs[i].TrainLoss != *want.Epochs[i].TrainLoss || *got.Epochs[i].TestTop1 != *want.Epochs[i].TestTop1 {
			t.Errorf("epoch %d: loss %v top-1 %v, want %v %v", i+1, *got.Epochs[i].TrainLoss, *got.Epochs[i].TestTop1,
				*want.Epochs[i].TrainLoss, *want.Epochs[i].TestTop1)
		}
	}
	if len(want.Epochs[0].ModuleLosses) != 8 && method == "auglocal" {
		t.Errorf("%d module losses, want 8: ten units, the last three in one module", len(want.Epochs[0].ModuleLosses))
	}
	return whole
}

// TestStepsDropOthers reads what the next step is fed with while one is noted: the run's seed, and the
// number of the step over all epochs, also where a run goes on in the middle of one. An epoch has four full
// batches and one of another size, which has a program of its own.
func TestStepsDropOthers(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state.safetensors")
	looked := 0
	for _, stop := range []int{7, 0} {
		b := benchOf(t, "mobilenetv2", "bp", state, true)
		b.options.Resume, b.options.Seed = true, 5<<32+1<<31+3
		ctx, cancel := context.WithCancel(context.Background())
		b.options.On = func(k train.Tick) {
			step := 5*(k.Epoch-1) + k.Step // the next: they are counted from 0
			if k.Finished != nil || k.Step > 3 || ctx.Err() != nil {
				return
			}
			if step == stop {
				cancel()
			}
			looked++
			words := make([]int32, 3)
			if err := b.session.Training.Read(b.session.Training.Stream, words); err != nil {
				t.Error(err)
			}
			if want := []int32{math.MinInt32 + 3, 5, int32(step)}; !slices.Equal(words, want) {
				t.Errorf("step %d is fed with %v, want %v", step, words, want)
			}
		}
		if _, err := train.Run(ctx, b.session, b.options); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		cancel()
	}
	if looked != 8 {
		t.Errorf("%d steps were looked at, want 8", looked)
	}
}

// TestDamagedState: a damaged state is renamed, and the run continues from the previous one, or from the beginning if
// there is none: each time to the same bits as without an interruption. The user reads which.
func TestDamagedState(t *testing.T) {
	flip := func(path string) error {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		content[len(content)-3] ^= 0x40
		return os.WriteFile(path, content, 0o666)
	}
	whole := benchOf(t, "mobilenetv2", "bp", filepath.Join(t.TempDir(), "run.state.safetensors"), false)
	saved := map[string][]byte{} // the states after epochs 1 and 2, by name
	whole.options.On = func(k train.Tick) {
		if k.Epoch == 3 && k.Step == 1 && k.Finished == nil {
			for _, path := range []string{whole.options.StatePath, train.PreviousState(whole.options.StatePath)} {
				content, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				saved[filepath.Base(path)] = content
			}
		}
	}
	if _, err := train.Run(context.Background(), whole.session, whole.options); err != nil {
		t.Fatal(err)
	}
	want := whole.content(t)
	for _, row := range []struct {
		name   string
		damage func(path string) error
		words  []string
		first  int // epoch that the resumed run begins with
		aside  int // files that are renamed
	}{
		{"a bit of the newest", flip, []string{"is damaged: its checksum", "continues from the previous state, in epoch 2"}, 2, 1},
		{"an empty one", func(path string) error { return os.Truncate(path, 0) },
			[]string{"is damaged", "continues from the previous state"}, 2, 1},
		{"both", func(path string) error { return errors.Join(flip(path), flip(train.PreviousState(path))) },
			[]string{"is damaged", "is damaged", "starts from the beginning"}, 1, 2},
		{"the newest is missing, killed between two renames", os.Remove, nil, 2, 0},
		{"no damage", func(string) error { return nil }, nil, 3, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			state := filepath.Join(t.TempDir(), "run.state.safetensors")
			for file, content := range saved {
				if err := os.WriteFile(filepath.Join(filepath.Dir(state), file), content, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if err := row.damage(state); err != nil {
				t.Fatal(err)
			}
			b := benchOf(t, "mobilenetv2", "bp", state, false)
			var words []string
			first := 0
			b.options.Resume = true
			b.options.Warn = func(sentence string) { words = append(words, sentence) }
			b.options.On = func(k train.Tick) {
				if first == 0 {
					first = k.Epoch
				}
			}
			report, err := train.Run(context.Background(), b.session, b.options)
			if err != nil {
				t.Fatal(err)
			}
			if first != row.first || len(words) != len(row.words) {
				t.Errorf("got epoch %d first and %q, want %d and %q", first, words, row.first, row.words)
			}
			for i := range min(len(words), len(row.words)) {
				if !strings.Contains(words[i], row.words[i]) {
					t.Errorf("got %q, want %q in it", words[i], row.words[i])
				}
			}
			if aside, _ := filepath.Glob(filepath.Join(filepath.Dir(state), "*.damaged")); len(aside) != row.aside {
				t.Errorf("got %v renamed, want %d", aside, row.aside)
			}
			got := b.content(t)
			for name := range want {
				if !slices.Equal(got[name], want[name]) {
					t.Errorf("%s: got other values than without an interruption", name)
				}
			}
			if len(report.Epochs) != 3 {
				t.Errorf("got %d epochs, want 3", len(report.Epochs))
			}
		})
	}
}

// TestStepTimesSurvive: a run whose steps were all made by earlier processes has their times.
func TestStepTimesSurvive(t *testing.T) {
	state := filepath.Join(t.TempDir(), "run.state.safetensors")
	b := benchOf(t, "mobilenetv2", "bp", state, false)
	before, err := train.Run(context.Background(), b.session, b.options)
	if err != nil {
		t.Fatal(err)
	}
	b = benchOf(t, "mobilenetv2", "bp", state, false)
	b.options.Resume = true
	b.options.On = func(k train.Tick) { t.Errorf("got step %d of epoch %d, want none", k.Step, k.Epoch) }
	after, err := train.Run(context.Background(), b.session, b.options)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := before.Steps.Summary()
	got, ok := after.Steps.Summary()
	if !ok || want.N == 0 || got.N != want.N || math.Abs(got.Median-want.Median) > 1e-8 ||
		after.StepSecondsSum != before.StepSecondsSum || len(after.PhaseSeconds) == 0 ||
		!maps.Equal(after.PhaseSeconds, before.PhaseSeconds) || after.DataWaitSeconds != before.DataWaitSeconds {
		t.Errorf("got %+v, %+v, want %+v, %+v", got, after.PhaseSeconds, want, before.PhaseSeconds)
	}
}

// TestStateOfAnotherRun: it is set aside like a damaged one.
func TestStateOfAnotherRun(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state.safetensors")
	b := benchOf(t, "mobilenetv2", "bp", state, false)
	b.options.Schedule.Epochs = 1
	if _, err := train.Run(context.Background(), b.session, b.options); err != nil {
		t.Fatal(err)
	}
	b.options.ID, b.options.Resume = "another", true
	var words []string
	b.options.Warn = func(sentence string) { words = append(words, sentence) }
	report, err := train.Run(context.Background(), b.session, b.options)
	if err != nil || len(report.Epochs) != 1 || len(words) != 2 || !strings.Contains(words[0], `belongs to the run "run"`) {
		t.Errorf("got %+v, %q, %v, want a run from the beginning and a word on the state", report, words, err)
	}
}

// TestDivergence wants a loss that is not finite to stop the run with the place.
func TestDivergence(t *testing.T) {
	b := newBench(t, "", false)
	b.options.Schedule = train.Schedule{Base: 1e30, Epochs: 2}
	_, err := train.Run(context.Background(), b.session, b.options)
	var diverged *train.Diverged
	if !errors.As(err, &diverged) || diverged.Epoch != 1 {
		t.Errorf("got %v, want divergence in epoch 1", err)
	}
}

// TestHeldOut: samples that are held out are evaluated as the test set is, in batches whose last is
// of another size, and change nothing in the training.
func TestHeldOut(t *testing.T) {
	plain, both := newBench(t, "", false), newBench(t, "", false)
	held, err := both.options.Data.Test.Slice(0, 36) // two batches and one of 4
	if err != nil {
		t.Fatal(err)
	}
	both.options.Val = &held
	want, err := train.Run(context.Background(), plain.session, plain.options)
	if err != nil {
		t.Fatal(err)
	}
	got, err := train.Run(context.Background(), both.session, both.options)
	if err != nil {
		t.Fatal(err)
	}
	// The same samples as test set give the same figures.
	alone := newBench(t, "", false)
	alone.options.Data.Test = held
	test, err := train.Run(context.Background(), alone.session, alone.options)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range got.Epochs {
		if *e.TrainLoss != *want.Epochs[i].TrainLoss || *e.TestLoss != *want.Epochs[i].TestLoss || want.Epochs[i].ValTop1 != nil {
			t.Errorf("epoch %d: training changed", i+1)
		}
		if *e.ValLoss != *test.Epochs[i].TestLoss || *e.ValTop1 != *test.Epochs[i].TestTop1 {
			t.Errorf("epoch %d: loss %v, top-1 %v of held out samples, want %v and %v", i+1, *e.ValLoss, *e.ValTop1,
				*test.Epochs[i].TestLoss, *test.Epochs[i].TestTop1)
		}
	}
	if got.BufferBytes <= want.BufferBytes {
		t.Errorf("loaders hold %d bytes, want more than %d", got.BufferBytes, want.BufferBytes)
	}
}

// TestEvaluationThatIsNotFinite: running statistics that are no numbers make the test loss none, too. The training goes
// on, its state is saved, and the record says nothing where there is nothing to say.
func TestEvaluationThatIsNotFinite(t *testing.T) {
	b := newBench(t, filepath.Join(t.TempDir(), "state.safetensors"), false)
	b.options.On = func(k train.Tick) {
		if k.Epoch != 2 || k.Finished != nil || k.Step != k.Steps {
			return
		}
		for _, v := range b.session.Persistent() {
			if strings.HasSuffix(v.Name, "running_var") {
				nothing := make([]float32, v.Shape.Elements())
				for i := range nothing {
					nothing[i] = float32(math.NaN())
				}
				if err := b.session.Training.Write(v, nothing); err != nil {
					t.Error(err)
				}
			}
		}
	}
	got, err := train.Run(t.Context(), b.session, b.options)
	if err != nil || len(got.Epochs) != 3 {
		t.Fatalf("%d epochs, %v", len(got.Epochs), err)
	}
	for i, e := range got.Epochs {
		if (e.TestLoss == nil) != (i > 0) || e.TestTop1 == nil || e.TrainLoss == nil {
			t.Errorf("epoch %d: got %+v, want a test loss in the first alone", e.Epoch, e)
		}
	}
}
