package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

// compiled is the schema that `benchctl schema` prints, in a library that knows nothing of this program.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	var printed strings.Builder
	env := Env{Args: []string{"schema"}, Getenv: func(string) string { return "" }, Stdout: &printed, Stderr: io.Discard}
	if code := run(env); code != 0 {
		t.Fatalf("schema: exit code %d", code)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(printed.String()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("sweep.schema.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("sweep.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// against is the verdict of the schema on a YAML file.
func against(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	converted, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var value any
	if err := json.Unmarshal(converted, &value); err != nil {
		t.Fatal(err)
	}
	return s.Validate(value)
}

// planOf is the verdict of the program on a YAML file.
func planOf(t *testing.T, text string) exitCode {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sweep.yaml")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return run(Env{Args: []string{"run", "--dry-run", "--config", path}, Getenv: func(string) string { return "" },
		Stdout: io.Discard, Stderr: io.Discard})
}

// What the documentation shows is valid, for the schema and for the program.
func TestSchemaAcceptsDocumentedFiles(t *testing.T) {
	s := compiled(t)
	text, err := os.ReadFile(filepath.Join(repository, "docs", "measurement.md"))
	if err != nil {
		t.Fatal(err)
	}
	examples := []string{"methods: bp,dgl\nseeds: \"1,2,5\"\nbudget: 512MiB\nno-augment: true\nlimit-time: 1h\nbetas: [0.9, 0.99]\n",
		"networks: [resnet20, my/net.pt2]\ndatasets: folder:photos\nfit: 8GiB\ncuts: [1.2, 2.1]\nlr: 0.1\ndropout: off\n"}
	for block := range strings.SplitSeq(string(text), "\n    # ") {
		if name, rest, _ := strings.Cut(block, "\n"); strings.HasSuffix(name, ".yaml") {
			var example strings.Builder
			for line := range strings.Lines(rest) {
				if !strings.HasPrefix(line, "    ") {
					break
				}
				example.WriteString(line[4:])
			}
			examples = append(examples, example.String())
			if code := planOf(t, example.String()); code != 0 {
				t.Errorf("the program refuses\n%s", example.String())
			}
		}
	}
	if len(examples) != 4 {
		t.Errorf("%d examples, want two of docs/measurement.md and two of this test", len(examples))
	}
	for _, example := range examples {
		if err := against(t, s, example); err != nil {
			t.Errorf("%v\n%s", err, example)
		}
	}
}

// What the program refuses for its keys and values, the schema does, too.
func TestSchemaRefusesWhatTheProgramRefuses(t *testing.T) {
	s := compiled(t)
	for _, text := range []string{"netwroks: resnet20\n", "methods: [auglocl]\n", "methods: {a: 1}\n", "batch: many\n", "batch: 0\n",
		"batch: [8, 0]\n", "epochs: 1.5\n", "quiet: maybe\n", "precision: f16\n", "budget: 512\n", "lr: fast\n", "matrix: [1]\n",
		"matrix: {batch: 8}\n", "matrix: {bacth: [8]}\n", "include: {batch: 8}\n", "include: [{bacth: 8}]\n",
		"overrides: {auglocl: {batch: 8}}\n", "overrides: {bp: {methods: dgl}}\n", "exclude: 1\n", "limit-time: 3\n",
		"pyramid-coefficient: 0\n", "on-oom: never\n", "- bp\n"} {
		if code := planOf(t, text); code != exitUsage {
			t.Errorf("the program ends with %d, want that it refuses\n%s", code, text)
		}
		if err := against(t, s, text); err == nil {
			t.Errorf("the schema accepts\n%s", text)
		}
	}
	// The files of the script tests, by the verdict of their names.
	archive, err := txtar.ParseFile(filepath.Join("testdata", "config_matrix.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	valid := map[string]bool{"sweep.yaml": true, "exclude.yaml": true, "nothing.yaml": true, "everything.yaml": true}
	for _, f := range archive.Files {
		if f.Name == "twice.yaml" { // is no YAML
			continue
		}
		if err := against(t, s, string(f.Data)); (err == nil) != valid[f.Name] {
			t.Errorf("%s: the schema says %v", f.Name, err)
		}
	}
}
