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
	r := results.Record{Status: results.StatusDone, Spec: results.Spec{Method: method, Network: "resnet32", Dataset: "cifar10",
		Batch: 128, Seed: seed, Epochs: 2, Precision: "f32", Backend: "cpu"}}
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
	err := Write(&out, Report{Title: "A <b>report</b>", About: []string{"2 records"},
		Tables: []table.Table{table.Summary(records)}, Figures: figure.All(records)})
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
	loads := regexp.MustCompile(`(src|href)="[^"#]*"|url\(|@import|https?://[^"w ]*[^"]*\.(js|css)`)
	if found := loads.FindString(strings.ReplaceAll(html, `xmlns:xlink`, "")); found != "" {
		t.Errorf("the page would fetch %s", found)
	}
	for _, name := range []string{"accuracy", "peak-memory", "accuracy-against-memory", "step-time"} {
		if !strings.Contains(html, `<figure id="`+name+`">`) {
			t.Errorf("no figure %s", name)
		}
	}
	if n := strings.Count(html, "<svg"); n != 2*4 {
		t.Errorf("%d drawings, want 4, each for a wide page and for a phone", n)
	}
	for _, c := range regexp.MustCompile(`(fill|stroke):#(FFFFFF|000000|333333|DDDDDD)`).FindAllString(html, -1) {
		t.Errorf("%s does not change with day and night", c)
	}
	if n := strings.Count(html, ">network<"); n != 0 {
		t.Error("the network has a column though the title says it")
	}
}

// whole are records of seven methods with everything that figures show, and long labels.
func whole() (out []results.Record) {
	for i, method := range table.Methods() {
		for seed := range uint64(3) {
			r := record(method, seed, 0.9-0.01*float64(i)-0.003*float64(seed), 1<<30>>i)
			r.Memory.ByCategory = map[string]int64{"saved activations": 1 << 30 >> i}
			if method == "auglocal" {
				r.Spec.AuxDepth, r.Spec.Selection = 2+int64(seed), "sequential"
			}
			if method != "bp" && method != "checkpoint" {
				r.Model.Modules = []results.Module{{Units: 1}, {Units: 15}}
				r.Accuracy.Epochs[1].Heads = []results.Head{{Module: 0, TestTop1: r.Accuracy.LastTop1},
					{Module: 1, TestTop1: r.Accuracy.LastTop1}}
			}
			out = append(out, r)
		}
	}
	return out
}

// browse loads a page in headless Chromium, in a frame of the width that a window cannot have
// (Chromium's are 500 pixels wide at least), and returns what the page's probe, a script, posts.
func browse(t *testing.T, html, probe string, width int, flags ...string) string {
	t.Helper()
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
		}
	}
	if browser == "" {
		t.Skip("no Chromium here; the page was not tested in a browser")
	}
	dir := t.TempDir()
	probe = "<script>addEventListener('load', () => { let said; try { said = (() => {" + probe +
		"})(); } catch (e) { said = String(e); } parent.postMessage(said, '*'); });</script></body>"
	frame := fmt.Sprintf(`<title>silent</title><script>addEventListener("message", e => document.title = e.data)</script>
<iframe src="page.html" style="width:%dpx;height:900px;border:0"></iframe>`, width)
	for name, text := range map[string]string{"page.html": strings.Replace(html, "</body>", probe, 1), "frame.html": frame} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	arguments := append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
		"--virtual-time-budget=5000", "--window-size=1400,1000", "--user-data-dir=" + t.TempDir(), "--dump-dom"}, flags...)
	out, err := exec.Command(browser, append(arguments, "file://"+filepath.Join(dir, "frame.html"))...).Output()
	if err != nil {
		t.Fatalf("%s: %v", browser, err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(regexp.MustCompile("<title>.*</title>").FindString(string(out)), "<title>"),
		"</title>")
}

// TestSortsInABrowser clicks a heading twice, and reads the first row.
func TestSortsInABrowser(t *testing.T) {
	html := write(t, []results.Record{record("bp", 1, 0.9, 1<<30), record("dgl", 1, 0.8, 1<<26), record("auglocal", 1, 0.89, 1<<27)})
	got := browse(t, html, `
		const peak = [...document.querySelectorAll("th button")].find(h => h.textContent.includes("planned peak"));
		const first = () => document.querySelector("tbody tr td").textContent;
		peak.click(); const up = first(); peak.click();
		return up + " " + first() + " " + peak.parentElement.getAttribute("aria-sort");`, 1200)
	if want := "dgl bp descending"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// layout is a probe that names what is wrong with the page as it is laid out: wider than its window, texts
// of a figure outside of it, over each other, or too small to read; no or both drawings of a figure.
const layout = `
	const faults = [], seen = x => x.getBoundingClientRect();
	const width = document.documentElement.scrollWidth;
	if (width > innerWidth) faults.push("the page is " + width + " wide in " + innerWidth);
	for (const figure of document.querySelectorAll("figure")) {
		const drawings = [...figure.querySelectorAll("svg")].filter(s => seen(s).width > 0);
		if (drawings.length !== 1) faults.push(figure.id + " shows " + drawings.length + " drawings");
		for (const drawing of drawings) {
			const box = seen(figure), texts = [...drawing.querySelectorAll("text")];
			texts.forEach((text, i) => {
				const a = seen(text);
				const name = figure.id + ": " + text.textContent, height = Math.min(a.width, a.height);
				if (a.left < box.left - 1 || a.right > box.right + 1 || a.bottom > box.bottom + 1) faults.push(name + " is outside");
				if (text.textContent.length > 2 && height < 8) faults.push(name + " is " + height + " high");
				for (const other of texts.slice(0, i)) {
					const b = seen(other), over = Math.min(a.right, b.right) - Math.max(a.left, b.left);
					const under = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
					if (over > 1 && under > 3) faults.push(figure.id + ": " + text.textContent + " is over " + other.textContent);
				}
			});
		}
	}
	return faults.slice(0, 5).join("; ") || "sound, " + document.querySelectorAll("figure").length + " figures";`

// TestLayoutInABrowser reads the page on a phone and on a desk.
func TestLayoutInABrowser(t *testing.T) {
	html := write(t, whole())
	for _, width := range []int{390, 1280} {
		if got, want := browse(t, html, layout, width), "sound, 7 figures"; got != want {
			t.Errorf("%d pixels wide: got %q, want %q", width, got, want)
		}
	}
	// Planted: a page that is too wide.
	broken := strings.Replace(html, "<h1>", `<h1 style="width:600px">`, 1)
	if got := browse(t, broken, layout, 390); !strings.HasPrefix(got, "the page is 6") {
		t.Errorf("a heading of 600 pixels: got %q", got)
	}
}

// TestDayAndNight wants paper, text and the black of bp, a line and a point, to change with the reader's
// choice, and the colours of other methods to stay.
func TestDayAndNight(t *testing.T) {
	html := write(t, whole())
	probe := `
		const style = x => getComputedStyle(x), figure = document.getElementById("accuracy-against-memory").querySelector(".broad svg");
		const fills = new Set([...figure.querySelectorAll("path")].map(p => style(p).fill));
		const page = style(document.body);
		return [page.backgroundColor, page.color, fills.has(page.color), fills.has("rgb(213, 94, 0)"),
			style(figure.querySelector("text")).fill].join(" ");`
	day := browse(t, html, probe, 1200)
	if want := "rgb(255, 255, 255) rgb(27, 31, 36) true true rgb(27, 31, 36)"; day != want {
		t.Errorf("by day: got %q, want %q", day, want)
	}
	night := browse(t, html, probe, 1200, "--blink-settings=preferredColorScheme=0")
	if want := "rgb(14, 17, 22) rgb(230, 237, 243) true true rgb(230, 237, 243)"; night != want {
		t.Errorf("by night: got %q, want %q", night, want)
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
		if err := Write(&out, Report{Title: fmt.Sprint(len(records)), Tables: []table.Table{table.Summary(records)},
			Figures: figure.All(records)}); err != nil {
			b.Fatal(err)
		}
	}
}
