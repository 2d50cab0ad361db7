package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGPUReport has scripts/gpu_report.py gather the results of stages, some of them truncated, and compares the
// verdicts with values computed by hand.
func TestGPUReport(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3: the report of gpu-check.sh was not tested")
	}
	parts, out := t.TempDir(), filepath.Join(t.TempDir(), "results.json")
	const rest = `"network":"resnet110","batch":1024,"workspace_limit_bytes":0`
	ours := `"ours":{"arena_bytes":ARENA,"floor":{"flops":1,"bytes":1}}`
	arena := func(bytes string) string { return strings.ReplaceAll(ours, "ARENA", bytes) }
	for name, text := range map[string]string{
		"stages.txt": "bench\tok\t3\n",
		"bench.jsonl": `{"method":"bp","precision":"tf32","overlap":1,"budget_bytes":0,` + rest +
			`,"step_seconds":[0.03,0.05,0.04],"peer_step_seconds":[0.09],"peer":{"max_memory_allocated_bytes":1000},` +
			arena("900") + "}\n" +
			// Tuned: 0.09 s of the peer's over 0.03.
			`{"method":"bp","precision":"tf32","overlap":1,"budget_bytes":0,"book":"b",` + rest + `,"step_seconds":[0.03],` +
			arena("900") + "}\n" +
			// None of them counts for speed, and the last two do not for memory.
			`{"method":"bp","precision":"tf32","overlap":1,"budget_bytes":5,` + rest + `,"step_seconds":[0.001],` + arena("550") + "}\n" +
			`{"method":"bp","precision":"tf32","overlap":2,"budget_bytes":0,` + rest + `,"step_seconds":[0.001],` + arena("10") + "}\n" +
			`{"method":"bp","precision":"tf32","overlap":1,"budget_bytes":0,"store":"int8",` + rest + `,"step_seconds":[0.001],` +
			arena("10") + "}\n" +
			`{"method":"auglocal","precision":"tf32","overlap":1,"budget_bytes":0,` + rest +
			`,"step_seconds":[0.1],"peer_step_seconds":[0.3],"peer":{"max_memory_allocated_bytes":1000},` + arena("600") + "}\n" +
			// The floor by the data sheet is 3.35e10 bytes at 3.35e12 a second, 0.01 s; the device took 0.012.
			`{"method":"bp","precision":"bf16","overlap":1,"budget_bytes":0,` + rest + `,"step_seconds":[0.02],` +
			`"device_step_seconds":[0.012],"ours":{"arena_bytes":1,"floor":{"flops":1,"bytes":33500000000}}}` + "\n" +
			`{"method":"auglo`,
		"peer.jsonl": `{"method":"bp","network":"resnet110","batch":1024,"precision":"tf32","compiled":true,` +
			`"step_seconds":{"median":0.033},"device_step_seconds":0.03,"max_memory_allocated_bytes":7}` + "\n",
		"ops.txt": "BenchmarkOp/relu-16\t20\t100 ns/op\t5.0 GB/s\t7.0 device-us/op\nBenchmarkOp/add-16\t20\t1",
		"profile.json": `{"tables":[{"title":"Plan against run: resnet110 bp synthetic","columns":[],"rows":[
			{"quantity":{"text":"arena, as the driver counts it"},"planned_bytes":{"text":"","value":1000},
			"measured_bytes":{"text":"","value":1030}}]}]}`,
	} {
		if err := os.WriteFile(filepath.Join(parts, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	printed, err := exec.Command(python, "../gpu_report.py", parts, out).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	var results struct {
		Bench, Ops []any
		Goals      []struct {
			Name, Verdict string
			Got           *float64
		}
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &results); err != nil {
		t.Fatal(err)
	}
	if len(results.Bench) != 7 || len(results.Ops) != 1 {
		t.Errorf("got %d steps and %d ops, want 7 and 1: truncated results are ignored", len(results.Bench), len(results.Ops))
	}
	want := map[string]string{
		"bp tf32, times as fast as PyTorch eager":                "reached 3.000",
		"auglocal tf32, times as fast as PyTorch eager":          "reached 3.000",
		"bp tf32, times as fast as torch.compile":                "missed 1.100",
		"bp bf16, device's time over the floor":                  "reached 1.200",
		"auglocal bf16, device's time over the floor":            "not measured",
		"bp tf32, arena of PyTorch's memory":                     "missed 90.000",
		"bp tf32, arena with a budget of PyTorch's memory":       "reached 55.000",
		"auglocal tf32, arena of PyTorch's memory":               "reached 60.000",
		"auglocal tf32, arena with a budget of PyTorch's memory": "not measured",
		"resnet110 bp, driver's arena beside the planned one":    "missed 3.000",
	}
	for _, goal := range results.Goals {
		got := goal.Verdict
		if goal.Got != nil {
			got += fmt.Sprintf(" %.3f", *goal.Got)
		}
		if want[goal.Name] != got {
			t.Errorf("%s: got %s, want %s", goal.Name, got, want[goal.Name])
		}
		delete(want, goal.Name)
	}
	for name := range want {
		t.Errorf("%s is not among the goals", name)
	}
}
