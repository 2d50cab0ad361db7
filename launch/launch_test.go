package launch

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/yaml"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/sweepdir"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares a text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s", path, got)
	}
}

func example() Sweep {
	cell := func(memory int64, seconds float64, gpu int64) sweepdir.Cell {
		return sweepdir.Cell{Spec: results.Spec{Method: "bp"}, MemoryBytes: memory << 20, Threads: 2, Seconds: seconds, GPUBytes: gpu}
	}
	refused := cell(1<<20, 600, 0)
	refused.Refused = "not run: the plan needs 1 TiB"
	return Sweep{Path: "/shared/my runs/sweep/0123456789abcdef.json", Out: "/shared/my runs", Program: []string{"/usr/bin/benchctl"},
		Manifest: sweepdir.Manifest{Cells: []sweepdir.Cell{cell(400, 600, 0), cell(8000, 7300, 0), cell(410, 600, 0), refused,
			cell(405, 600, 0),
			cell(400, 600, 1<<30)}}}
}

func all(sweepdir.Cell) bool { return true }

// Like cells are in one class, which asks for the most that any of them needs; refused ones are in none.
func TestClasses(t *testing.T) {
	classes := example().Classes(all)
	var got []string
	for _, c := range classes {
		got = append(got, strings.ReplaceAll(strings.Trim(fmt.Sprint(c.Cells), "[]"), " ", ","))
	}
	if strings.Join(got, " ") != "5 0,2,4 1" {
		t.Fatalf("classes %q, want 5, 0,2,4 and 1", got)
	}
	if c := classes[1]; c.MemoryBytes != 410<<20 || c.Seconds != 600 || c.GPU {
		t.Errorf("class of like cells: %+v, want 410 MiB", c)
	}
	if c := example().Classes(func(c sweepdir.Cell) bool { return c.Seconds > 1000 }); len(c) != 1 || c[0].Cells[0] != 1 {
		t.Errorf("of the cells that are to do: %+v, want cell 1", c)
	}
}

// A cluster limits the tasks of an array.
func TestParts(t *testing.T) {
	class := Class{Threads: 3, Cells: []int{1, 2, 4, 7, 8}}
	parts := Parts([]Class{class, {Cells: []int{9}}}, 2)
	if got := fmt.Sprint(parts); got != "[{0 3 false 0 [1 2]} {0 3 false 0 [4 7]} {0 3 false 0 [8]} {0 0 false 0 [9]}]" {
		t.Errorf("got %s", got)
	}
}

// The script of Slurm is a valid script of the shell, with what the class asks for.
func TestSlurmScript(t *testing.T) {
	s := example()
	script := Slurm{Arrays: 4, Pass: map[string]string{"partition": "gpu", "time": "01:00:00"}}.Script(s, s.Classes(all)[0])
	golden(t, "slurm.sh", script)
	check := exec.Command("sh", "-n")
	check.Stdin = strings.NewReader(script)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("sh -n: %v: %s", err, out)
	}
}

// The manifests decode strictly into the published types, and a shell finds the cell of an index.
func TestKubernetesManifests(t *testing.T) {
	s := example()
	o := Kubernetes{Image: "registry.example/benchctl:1", Claim: "runs", Mount: "/sweep", Namespace: "lab", Retries: 2}
	text, err := o.Manifests(s, all)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "jobs.yaml", text)
	documents := strings.Split(text, "---\n")[1:]
	if len(documents) != 3 {
		t.Fatalf("%d documents, want 3", len(documents))
	}
	var job batchv1.Job
	if err := yaml.UnmarshalStrict([]byte(documents[1]), &job); err != nil {
		t.Fatal(err)
	}
	container := job.Spec.Template.Spec.Containers[0]
	if memory := container.Resources.Limits.Memory().Value(); memory != 410<<20 || *job.Spec.Completions != 3 {
		t.Errorf("memory %d, %d completions, want 410 MiB and 3", memory, *job.Spec.Completions)
	}
	script := strings.Replace(container.Command[2], "exec ", "echo ", 1)
	shell := exec.Command("sh", "-c", script)
	shell.Env = []string{"JOB_COMPLETION_INDEX=1"}
	out, err := shell.Output()
	if want := "/usr/bin/benchctl work /shared/my runs --manifest 0123456789abcdef.json --cell 2\n"; err != nil ||
		string(out) != want {
		t.Errorf("index 1: %q, %v, want %q", out, err, want)
	}
}

// A shell reads each line as the same arguments.
func TestLines(t *testing.T) {
	lines := example().Lines(all)
	if len(lines) != 5 {
		t.Fatalf("%d lines, want 5", len(lines))
	}
	out, err := exec.Command("sh", "-c", "printf '%s|' "+lines[1]).Output()
	if want := "/usr/bin/benchctl|work|/shared/my runs|--manifest|0123456789abcdef.json|--cell|1|"; err != nil ||
		string(out) != want {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
}

// The jobs of Kubernetes have the same names and content whatever is done, those with nothing to do are left out, and other
// options are other jobs.
func TestKubernetesJobsDoNotChange(t *testing.T) {
	s, o := example(), Kubernetes{Image: "i", Claim: "c", Mount: "/sweep"}
	manifests := func(s Sweep, todo func(sweepdir.Cell) bool) []string {
		text, err := o.Manifests(s, todo)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(text, "---\n")[1:]
	}
	before := manifests(s, all)
	after := manifests(s, func(c sweepdir.Cell) bool { return c.MemoryBytes == 410<<20 })
	if len(before) != 3 || len(after) != 1 || after[0] != before[1] {
		t.Errorf("with one cell left there are %d jobs, want the one with that cell, unchanged:\n%s", len(after),
			strings.Join(after, ""))
	}
	o.AtATime = 1
	name := func(text string) string { return text[strings.Index(text, "  name: "):][:50] }
	if fewer := manifests(s, all); name(fewer[1]) != name(before[1]) || !strings.Contains(fewer[1], "parallelism: 1\n") {
		t.Errorf("with one cell at a time the job is\n%s", fewer[1])
	}
	s.Options = []string{"--retry-failed"}
	if again := manifests(s, all); name(again[1]) == name(before[1]) {
		t.Errorf("with another option the job has the same name: %s", name(again[1]))
	}
}
