package page

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/localbench/localbench/reports/figure"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

func record(method string, seed uint64, top1 float64, peak int64) results.Record {
	r := results.Record{Status: results.StatusDone, Spec: results.Spec{Method: method, Network: "resnet32", Dataset: "cifar10", Batch: 128, Seed: seed, Epochs: 2, Precision: "f32", Backend: "cpu"}}
	r.Memory.PlannedPeakBytes, r.Memory.ArenaBytes = &peak, &peak
	r.Accuracy.LastTop1, r.Accuracy.BestTop1 = &top1, &top1
	r.Accuracy.Epochs = []results.Epoch{{Epoch: 1, TestTop1: &top1}, {Epoch: 2, TestTop1: &top1}}
	r.Time.PhaseSeconds = map[string]float64{"forward": 0.1, "backward": 0.2}
	r.Time.StepSeconds = &results.Distribution{Median: 0.3, N: 10}
	return r
}

func write(t *testing.T, records []results.Record) string {
	t.Helper()
	var out bytes.Buffer
	err := Write(&out, Report{Title: "A <b>report</b>", About: []string{"2 records"}, Tables: []table.Table{table.Summary(records)}, Figures: figure.All(records)})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestSelfContained: no address is fetched, what records say is escaped, and every
// figure is there.
func TestSelfContained(t *testing.T) {
	html := write(t, []results.Record{record("bp", 1, 0.9, 1<<30), record("auglocal", 1, 0.89, 1<<27)})
	if strings.Contains(html, "<b>report</b>") || !strings.Contains(html, "A &lt;b&gt;report&lt;/b&gt;") {
		t.Error("the title is not escaped")
	}
	if found := regexp.MustCompile(`(src|href)="[^"#]*"|url\(|@import|https?://[^"w ]*[^"]*\.(js|css)`).FindString(strings.ReplaceAll(html, `xmlns:xlink`, "")); found != "" {
		t.Errorf("the page would fetch %s", found)
	}
	for _, name := range []string{"accuracy", "peak-memory", "accuracy-against-memory", "step-time"} {
		if !strings.Contains(html, `<figure id="`+name+`">`) {
			t.Errorf("no figure %s", name)
		}
	}
	if n := strings.Count(html, "<svg"); n != 4 {
		t.Errorf("%d drawings, want 4", n)
	}
}

// TestSortsInABrowser loads the page in Chromium, clicks a heading twice, and reads the
// first row; and looks whether it is wider than a phone.
func TestSortsInABrowser(t *testing.T) {
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
		}
	}
	if browser == "" {
		t.Skip("no Chromium here; sorting and width were not tested")
	}
	html := write(t, []results.Record{record("bp", 1, 0.9, 1<<30), record("dgl", 1, 0.8, 1<<26), record("auglocal", 1, 0.89, 1<<27)})
	probe := `<script>
const heads = [...document.querySelectorAll("th button")], peak = heads.find(h => h.textContent.includes("planned peak"));
const first = () => document.querySelector("tbody tr td").textContent;
peak.click(); const up = first(); peak.click(); const down = first();
document.title = ["probe", up, down, document.documentElement.scrollWidth <= window.innerWidth].join(" ");
</script></body>`
	path := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(path, []byte(strings.Replace(html, "</body>", probe, 1)), 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900", "--user-data-dir="+t.TempDir(), "--dump-dom", "file://"+path).Output()
	if err != nil {
		t.Fatalf("%s: %v", browser, err)
	}
	if want := "<title>probe dgl bp true</title>"; !strings.Contains(string(out), want) {
		t.Errorf("got %s, want %s", regexp.MustCompile("<title>.*</title>").Find(out), want)
	}
}

// TestAThousandRecords bounds nothing by the clock; it sees that all of them are there.
func TestAThousandRecords(t *testing.T) {
	var records []results.Record
	for i := range 1000 {
		r := record("auglocal", uint64(i%5), 0.9, 1<<27+int64(i/5))
		r.Spec.Batch = int64(1 + i/5)
		records = append(records, r)
	}
	if n := strings.Count(write(t, records), "<tr>"); n != 200+1 {
		t.Errorf("%d rows, want 200 and a heading", n)
	}
}

// BenchmarkThousandRecords is the time of a report over 1,000 records.
func BenchmarkThousandRecords(b *testing.B) {
	var records []results.Record
	for i := range 1000 {
		r := record("auglocal", uint64(i%5), 0.9, 1<<27)
		r.Spec.Batch = int64(1 + i/5)
		records = append(records, r)
	}
	for b.Loop() {
		var out bytes.Buffer
		if err := Write(&out, Report{Title: fmt.Sprint(len(records)), Tables: []table.Table{table.Summary(records)}, Figures: figure.All(records)}); err != nil {
			b.Fatal(err)
		}
	}
}
