package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/graph"
)

// planJSON is what a script may rely on of `plan --format json`.
type planJSON struct {
	Schema                      int
	Version, Backend, Precision string
	ExitCode                    int `json:"exit_code"`
	Verdict                     string
	Tables                      []struct {
		ID, Run string
		Columns []struct{ Key string }
		Rows    []map[string]struct {
			Text  string
			Value *float64
		}
	}
}

// The JSON of `plan` says what it is of, names its tables by id, and the ids and keys are those that docs/output.md lists.
func TestJSONOfPlanIsAContract(t *testing.T) {
	out, err := exec.Command("benchctl", "plan", "--methods", "bp,auglocal", "--networks", "resnet20", "--batch", "8",
		"--details", "--format", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var p planJSON
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	if p.Schema != answerSchema || p.Version == "" || p.Backend != "cpu" || p.Precision != "f32" {
		t.Errorf("schema %d, version %q, backend %q, precision %q", p.Schema, p.Version, p.Backend, p.Precision)
	}
	page, err := os.ReadFile(filepath.Join(repository, "docs", "output.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, table := range p.Tables {
		if id := table.ID + " " + table.Run; table.ID == "" || seen[id] {
			t.Errorf("table id %q: empty, or not the only one", id)
		} else {
			seen[id] = true
		}
		if !strings.Contains(string(page), "`"+table.ID+"`") {
			t.Errorf("docs/output.md does not have the table %s", table.ID)
		}
		for _, c := range table.Columns {
			if !strings.Contains(string(page), "`"+c.Key+"`") && table.ID != "categories" {
				t.Errorf("docs/output.md does not have the column %s of table %s", c.Key, table.ID)
			}
		}
		if table.ID == "memory" { // ResNet-20 has 10 units
			if k := table.Rows[1]["modules"]; k.Value == nil || *k.Value != 10 {
				t.Errorf("K: got %+v, want 10", k)
			}
		}
	}
}

// The categories of a plan are columns with the names of the categories, the same for any number of runs.
func TestCategoriesOfPlanHaveStableNames(t *testing.T) {
	var want []string
	for _, c := range graph.Categories() {
		want = append(want, strings.ReplaceAll(c.String(), " ", "_")+"_bytes")
	}
	for _, methods := range []string{"bp", "bp,auglocal", "bp,checkpoint,dgl,auglocal"} {
		out, err := exec.Command("benchctl", "plan", "--methods", methods, "--networks", "resnet20", "--batch", "8",
			"--format", "csv", "--table", "categories").Output()
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
		if err != nil || len(rows) != 2+strings.Count(methods, ",") {
			t.Fatalf("%s: %d rows, %v", methods, len(rows), err)
		}
		if got := rows[0][len(rows[0])-len(want):]; !slices.Equal(got, want) {
			t.Errorf("%s: got columns %v, want %v", methods, got, want)
		}
	}
}
