package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/reports/planned"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/meter"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"benchctl": main}) }

// TestScripts runs testdata/*.txtar: a command, its output, its exit code, the
// files it leaves.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exit":     exitCommand,
			"cifar10":  cifar10Command,
			"onejson":  oneJSONCommand,
			"standin":  standInCommand,
			"pictures": picturesCommand,
		},
	})
}

// picturesCommand is `pictures FOLDER CLASS...`: PNG files, four to train on and two to test for each class.
func picturesCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: pictures FOLDER CLASS...")
	}
	for c, class := range args[1:] {
		for split, count := range map[string]int{"train": 4, "val": 2} {
			dir := filepath.Join(ts.MkAbs(args[0]), split, class)
			ts.Check(os.MkdirAll(dir, 0o777))
			for i := range count {
				picture := image.NewGray(image.Rect(0, 0, 40, 30))
				for p := range picture.Pix {
					picture.Pix[p] = byte(c*80 + i*8 + p%16)
				}
				var file bytes.Buffer
				ts.Check(png.Encode(&file, picture))
				ts.Check(os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.png", i)), file.Bytes(), 0o666))
			}
		}
	}
}

// standInCommand is `standin FOLDER`: the CUDA backend's code on the host as the CUDA backend.
func standInCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: standin FOLDER")
	}
	path, err := enginetest.BuildEmulator()
	ts.Check(err)
	library, err := os.ReadFile(path)
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o777))
	ts.Check(os.WriteFile(filepath.Join(dir, "liblocalbench_cuda.so"), library, 0o666))
}

// exitCommand is `exit CODE command...`: the command has to end with that code.
func exitCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit CODE command...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var ended *exec.ExitError
	got := 0
	if errors.As(err, &ended) {
		got = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code: got %d, want %d", got, want)
	}
}

// cifar10Command is `cifar10 DIR [fault]`: the six files of CIFAR-10, made up,
// with a planted fault: truncated, label.
func cifar10Command(ts *testscript.TestScript, _ bool, args []string) {
	const records, record = 10000, 1 + 3*32*32
	dir := ts.MkAbs(filepath.Join(args[0], "cifar-10-batches-bin"))
	ts.Check(os.MkdirAll(dir, 0o777))
	for _, name := range []string{"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"} {
		text := make([]byte, records*record)
		for i := range records {
			text[i*record] = byte(i % 10)
		}
		if name == "data_batch_2" && len(args) > 1 {
			switch args[1] {
			case "truncated":
				text = text[:len(text)-1]
			case "label":
				text[7*record] = 10
			}
		}
		ts.Check(os.WriteFile(filepath.Join(dir, name+".bin"), text, 0o666))
	}
}

// oneJSONCommand holds that a file is one JSON document and nothing else, and
// that its exit_code is the one named.
func oneJSONCommand(ts *testscript.TestScript, _ bool, args []string) {
	var document struct {
		ExitCode *int `json:"exit_code"`
	}
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &document); err != nil {
		ts.Fatalf("%s: %v", args[0], err)
	}
	if document.ExitCode == nil || fmt.Sprint(*document.ExitCode) != args[1] {
		ts.Fatalf("%s: exit_code: got %v, want %s", args[0], document.ExitCode, args[1])
	}
}

// smallRun is a run of many epochs of two steps each.
func smallRun(dir string, more ...string) *exec.Cmd {
	args := append([]string{"run", "--methods", "auglocal", "--networks", "resnet20", "--batch", "16", "--train-limit", "32",
		"--test-limit", "8", "--epochs", "40", "--threads", "1", "--out", filepath.Join(dir, "runs")}, more...)
	return exec.Command("benchctl", args...)
}

func onlyRecord(t *testing.T, dir string) results.Record {
	t.Helper()
	records, warnings, err := results.ReadDir(filepath.Join(dir, "runs"))
	if err != nil || len(warnings) > 0 || len(records) != 1 {
		t.Fatalf("got %d records, %v, %v, want one", len(records), warnings, err)
	}
	return records[0]
}

// TestProcessHoldsThePlan: what a run's process grows by is the arena, the loaders' buffers, and at most 16 MiB that do not
// depend on the batch. Two bounds: the 16 MiB at every batch, and from batch 256 to 1,024 the process grows as the
// plan does, within 1 %. (`benchctl profile` says what the 16 MiB are; TestProfileExplainsTheProcess.)
func TestProcessHoldsThePlan(t *testing.T) {
	const fixed, tolerance = 16 << 20, 0.01
	dir := t.TempDir()
	for _, batch := range []int{256, 1024} {
		out, err := exec.Command("benchctl", "run", "--methods", "bp,auglocal", "--networks", "resnet20", "--batch", fmt.Sprint(batch),
			"--train-limit", fmt.Sprint(3*batch), // the loader has three buffers
			"--test-limit", "256", "--epochs", "1", "--threads", "1", "--out", filepath.Join(dir, "runs")).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	records, _, err := results.ReadDir(filepath.Join(dir, "runs"))
	if err != nil || len(records) != 4 {
		t.Fatalf("got %d records, %v, want four", len(records), err)
	}
	type size struct{ planned, grown int64 }
	found := map[string]map[int64]size{}
	for _, r := range records {
		m := r.Memory
		if m.ProcessPeakBytes == nil || m.ProcessBaselineBytes == nil {
			t.Skip("this system does not tell the memory of a process: nothing was tested")
		}
		at := size{*m.ArenaBytes + *m.DataBufferBytes, *m.ProcessPeakBytes - *m.ProcessBaselineBytes}
		own := at.grown - at.planned
		t.Logf("%s, batch %d: the process grew by %d bytes, arena and buffers are %d: %d more",
			r.Spec.Method, r.Spec.Batch, at.grown, at.planned, own)
		if own > fixed || float64(own) < -tolerance*float64(at.planned) {
			t.Errorf("%s, batch %d: the process took %d bytes beside arena and buffers, want at most %d",
				r.Spec.Method, r.Spec.Batch, own, fixed)
		}
		if found[r.Spec.Method] == nil {
			found[r.Spec.Method] = map[int64]size{}
		}
		found[r.Spec.Method][r.Spec.Batch] = at
	}
	for method, at := range found {
		planned, grown := at[1024].planned-at[256].planned, at[1024].grown-at[256].grown
		if off := math.Abs(float64(grown)/float64(planned) - 1); !(off <= tolerance) {
			t.Errorf("%s: from batch 256 to 1024 the plan grows by %d bytes, the process by %d: %.2f %% apart, want at most %g %%",
				method, planned, grown, 100*off, 100*tolerance)
		}
	}
}

// TestProfileExplainsTheProcess: the parts sum to what the process has grown by; the arena is what is planned, and every other
// part is small, also that of ResNet-110's 3,798 ops.
func TestProfileExplainsTheProcess(t *testing.T) {
	for network, batch := range map[string]int64{"resnet20": 256, "resnet110": 32} {
		t.Run(network, func(t *testing.T) { profileExplainsTheProcess(t, network, batch) })
	}
}

func profileExplainsTheProcess(t *testing.T, network string, batch int64) {
	request := suite.Request{Methods: []string{"auglocal"}, Networks: []string{network}, Batches: []int64{batch}, Threads: 1}
	specs, err := request.Expand()
	if err != nil {
		t.Fatal(err)
	}
	p, err := suite.Runner{Command: []string{"benchctl", "execute"}}.Profile(t.Context(), specs[0], 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Growth) == 0 {
		t.Skip("this system does not tell the parts of a process: nothing was tested")
	}
	var sum, arena, code int64
	for _, g := range p.Growth {
		sum += g.Bytes
		switch g.Part {
		case meter.PartArena:
			arena = g.Bytes
		case meter.PartCode:
			code = g.Bytes
		}
		t.Logf("%s: %d bytes", g.Part, g.Bytes)
	}
	if grown := *p.Memory.ProcessPeakBytes - *p.Memory.ProcessBaselineBytes; sum != grown {
		t.Errorf("the parts sum to %d bytes, the process has grown by %d", sum, grown)
	}
	if planned := *p.Memory.StepArenaBytes; math.Abs(float64(arena-planned)) > 0.01*float64(planned) {
		t.Errorf("%d bytes of the arena are resident, want %d within 1 %%", arena, planned)
	}
	if code == 0 {
		t.Error("no code was generated, but oneDNN generates its convolutions")
	}
	if rest, most := sum-arena, planned.OwnBytes(len(p.OpSeconds)); rest > most {
		t.Errorf("%d bytes beside the arena, want at most %d", rest, most)
	}
}

// TestPartsOfARunHoldThePlan: no part of a run takes more than the arena and what any process takes: preparing no more than what
// lives from step to step, writing a checkpoint no more than a step. The network's largest parameter has 9 MiB, and all that live
// from step to step have 72.
func TestPartsOfARunHoldThePlan(t *testing.T) {
	const process = 16 << 20 // code generated for kernels, the program itself, pieces of tensors
	specs, err := suite.Request{Methods: []string{"bp"}, Networks: []string{"vgg13"}, Batches: []int64{16}, Threads: 1}.Expand()
	if err != nil {
		t.Fatal(err)
	}
	p, err := suite.Runner{Command: []string{"benchctl", "execute"}}.Profile(t.Context(), specs[0], 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Peaks) == 0 {
		t.Skip("this system tells no peaks: nothing was tested")
	}
	var lasting int64
	for _, category := range []graph.Category{graph.CategoryParameter, graph.CategoryBuffer, graph.CategoryOptimizer} {
		lasting += p.Memory.ByCategory[category.String()]
	}
	for _, x := range p.Peaks {
		most := *p.Memory.ArenaBytes + process
		if x.Phase == suite.PeakPrepare {
			most = lasting + process
		}
		if x.Bytes > most {
			t.Errorf("%s: the process grew by %d bytes, want at most %d", x.Phase, x.Bytes, most)
		} else {
			t.Logf("%s: the process grew by %d bytes of at most %d", x.Phase, x.Bytes, most)
		}
	}
}

// TestSteadyPeakIsSteady: over three processes, one of them with 30 steps, the same
// bytes are touched, and the peak of the process is the same but for pages that the
// system counts late.
func TestSteadyPeakIsSteady(t *testing.T) {
	request := suite.Request{Methods: []string{"auglocal"}, Networks: []string{"resnet20"}, Batches: []int64{8}, Threads: 1}
	specs, err := request.Expand()
	if err != nil {
		t.Fatal(err)
	}
	var first *results.Profile
	for run := range 3 {
		steps := 2
		if run == 2 {
			steps = 30
		}
		p, err := suite.Runner{Command: []string{"benchctl", "execute"}}.Profile(t.Context(), specs[0], steps)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = p
			continue
		}
		if p.Coverage != first.Coverage || *p.Memory.ArenaBytes != *first.Memory.ArenaBytes {
			t.Errorf("run %d: coverage %+v, first %+v", run+1, p.Coverage, first.Coverage)
		}
		for i, x := range p.Peaks {
			if d := x.Bytes - first.Peaks[i].Bytes; x.Phase == suite.PeakSteady && max(d, -d) > 2<<20 {
				t.Errorf("run %d: a steady step has its peak at %d bytes, in the first run at %d", run+1, x.Bytes, first.Peaks[i].Bytes)
			}
		}
	}
}

func TestInterruptAndResumeReachTheSameBits(t *testing.T) {
	whole, cut := t.TempDir(), t.TempDir()
	if out, err := smallRun(whole).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	code, said := interruptAfter(t, smallRun(cut), "epoch 1/40", cut)
	if code != int(exitInterrupted) || !strings.Contains(said, "--resume goes on") {
		t.Fatalf("got exit code %d, want %d and a hint: %s", code, exitInterrupted, said)
	}
	if r := onlyRecord(t, cut); r.Status != results.StatusInterrupted {
		t.Fatalf("got status %s, want interrupted", r.Status)
	}
	if out, err := smallRun(cut, "--resume").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want, got := onlyRecord(t, whole).Accuracy, onlyRecord(t, cut).Accuracy
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(results.Epoch{}, "Seconds")); d != "" {
		t.Errorf("resumed run differs from the run in one go (-one go +resumed):\n%s", d)
	}
	if left, _ := filepath.Glob(filepath.Join(cut, "runs", "*.state.*")); len(left) > 0 {
		t.Errorf("got leftovers %v, want no state of a run that is done", left)
	}
}

// interruptAfter starts a run and interrupts it once its standard error has the text; it returns the exit code. A run that was
// done before the interrupt arrived, however slow the machine is at delivering it, is started again from the beginning.
func interruptAfter(t *testing.T, run *exec.Cmd, text, dir string) (int, string) {
	t.Helper()
	for {
		c := exec.Command(run.Path, run.Args[1:]...)
		pipe, err := c.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		sent := false
		for buffer := make([]byte, 4096); ; {
			n, err := pipe.Read(buffer)
			said.Write(buffer[:n])
			if !sent && strings.Contains(said.String(), text) {
				_ = c.Process.Signal(syscall.SIGINT)
				sent = true
			}
			if err != nil {
				break
			}
		}
		_ = c.Wait()
		if code := c.ProcessState.ExitCode(); code != 0 {
			return code, said.String()
		}
		if !sent {
			t.Fatalf("the run ended without saying %q: %s", text, said.String())
		}
		if err := os.RemoveAll(filepath.Join(dir, "runs")); err != nil {
			t.Fatal(err)
		}
	}
}

// What goes on after an interrupt is said as it is: reproduce resumes of itself, and has no --resume.
func TestHintAfterAnInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for resume, want := range map[bool]string{false: "the same command with --resume goes on", true: "the same command goes on"} {
		var b bytes.Buffer
		_, err := suite.Runner{Out: t.TempDir(), Resume: resume}.Run(ctx, make([]results.Spec, 2))
		printError(&b, err)
		if !strings.Contains(b.String(), "hint: "+want+"\n") || !strings.Contains(b.String(), "0 of 2 runs are done") {
			t.Errorf("resume %t: got %q, want %q", resume, b.String(), want)
		}
	}
}

func TestExitCodesOfErrors(t *testing.T) {
	for _, row := range []struct {
		err  error
		want exitCode
	}{
		{nil, 0},
		{errors.New("anything"), 1},
		{usage(errors.New("--batch 0: must be at least 1")), 2},
		{fmt.Errorf("wrapped: %w", usage(errors.New("x"))), 2},
		{&suite.SweepError{Failed: 1, Total: 2}, 3},
		{&suite.SweepError{Cause: errors.New("no space left on device")}, 3},
		{&results.NewerSchemaError{Got: 9, Want: 1}, 5},
		{&runError{status: results.StatusOutOfMemory, cause: errors.New("x")}, 20},
		{&runError{status: results.StatusDiverged, cause: errors.New("x")}, 21},
		{&runError{status: results.StatusFailed, cause: errors.New("x")}, 1},
		{&runError{status: results.StatusInterrupted, cause: errors.New("x")}, 130},
		{&suite.InterruptedError{Left: "1 of 2"}, 130},
	} {
		if got := codeOf(row.err); got != row.want {
			t.Errorf("%v: got %d, want %d", row.err, got, row.want)
		}
	}
}

func TestDocsHaveTheRecipes(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository, "docs", "data.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range suite.Recipes() {
		want := fmt.Sprintf("| `%s` | %d | %g | %d | %d |\n", r.Dataset, r.Batch, r.LR, r.Epochs, r.Warmup)
		if !strings.Contains(string(text), want) {
			t.Errorf("docs/data.md: got no line %s", want)
		}
	}
}

func TestErrorIsOneLine(t *testing.T) {
	var b bytes.Buffer
	printError(&b, &usageError{errors.New("config: two\nlines"), "do\nthis"})
	if want := "benchctl: config: two; lines\nhint: do; this\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

// A report over 1,000 records of 200 epochs, with its page, takes less than 300 MB of resident
// memory, as the system counts it. Three times it took 144 to 156 MB on two cores (go test
// ./cmd/benchctl -run ReportMemory -count=3 -v, November 2026).
func TestReportMemory(t *testing.T) {
	const most = 300e6
	dir := t.TempDir()
	for i := range 1000 {
		r := results.Record{Status: results.StatusDone, Spec: results.Spec{Method: table.Methods()[i/5%4], Network: "resnet32",
			Dataset: "cifar10", Batch: int64(1 + i/20), Precision: "f32", Backend: "cpu", Seed: uint64(i % 5), Epochs: 200}}
		peak, top1 := int64(1<<27+i), 0.5+float64(i)/4000
		r.Memory.PlannedPeakBytes, r.Memory.ArenaBytes = &peak, &peak
		r.Memory.ByCategory = map[string]int64{"saved activations": peak}
		r.Time.StepSeconds = &results.Distribution{Median: 0.3, P05: 0.2, P95: 0.4, N: 10}
		r.Accuracy.LastTop1, r.Accuracy.BestTop1 = &top1, &top1
		for e := range int64(200) {
			r.Accuracy.Epochs = append(r.Accuracy.Epochs, results.Epoch{Epoch: e + 1, LR: 0.1, TestTop1: &top1, TrainTop1: &top1,
				TestLoss: &top1, TrainLoss: &top1, Seconds: &top1})
		}
		if err := results.Write(dir, r); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("benchctl", "report", dir, "--html", filepath.Join(t.TempDir(), "page.html"), "--quiet")
	if out, err := c.CombinedOutput(); err != nil || bytes.Count(out, []byte("\n")) < 200 {
		t.Fatalf("%v: %d bytes: %s", err, len(out), out[:min(len(out), 500)])
	}
	usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok || runtime.GOOS != "linux" {
		t.Skip("the resident memory of a process that has ended is read on Linux only")
	}
	if got := float64(usage.Maxrss) * 1024; got > most {
		t.Errorf("got %.0f MB resident, want at most %.0f", got/1e6, most/1e6)
	} else {
		t.Logf("%.0f MB resident", got/1e6)
	}
}
