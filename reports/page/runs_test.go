package page

import (
	"bytes"
	"strings"
	"testing"

	"github.com/localbench/localbench/results"
)

func TestRunsAndFiles(t *testing.T) {
	r := record("auglocal", 3, 0.9, 300)
	r.ID = "resnet20-auglocal-x"
	r.Memory.ByCategory = map[string]int64{"parameters": 100, "saved_activations": 200, "workspace": 0}
	r.Memory.Top = []results.Value{{Name: "layer1:y", Bytes: 200}}
	failed := record("bp", 1, 0.9, 300)
	failed.Status = results.StatusOutOfMemory
	runs, more := Runs([]results.Record{r, failed})
	if len(runs) != 2 || more != 0 {
		t.Fatalf("got %d runs and %d more, want 2 and 0", len(runs), more)
	}
	if !strings.HasSuffix(runs[0].Label, "seed 3") || !strings.HasSuffix(runs[1].Label, ": oom") {
		t.Errorf("got labels %q and %q", runs[0].Label, runs[1].Label)
	}
	var out bytes.Buffer
	if err := Write(&out, Report{Title: "t", Runs: runs, MoreRuns: 7,
		Files: []Download{{Name: "a.csv", Type: "text/csv", Text: []byte("x,y\n")}}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<details id="resnet20-auglocal-x">`, "record: resnet20-auglocal-x.json",
		`title="bytes: 200" data-sort="200"`, "saved activations", "layer1:y", "And 7 more",
		`<a download="a.csv" href="data:text/csv;base64,eCx5Cg==">a.csv</a>`, // printf 'x,y\n' | base64
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if saved := strings.Index(out.String(), "saved activations"); saved > strings.Index(out.String(), ">parameters<") {
		t.Error("categories: the largest comes first")
	}
	if strings.Contains(out.String(), ">workspace<") {
		t.Error("a category without bytes has a row")
	}
	if _, more := Runs(make([]results.Record, maxRuns+5)); more != 5 {
		t.Errorf("got %d more, want 5", more)
	}
}
