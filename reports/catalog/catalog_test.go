package catalog_test

import (
	"os"
	"strings"
	"testing"

	"github.com/localbench/localbench/gpu"
	"github.com/localbench/localbench/reports/catalog"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/baseline"
	"github.com/localbench/localbench/suite"
)

// lines are the rows of a table as "a | b | c".
func lines(t table.Table) string {
	var all []string
	for _, row := range t.Rows {
		var cells []string
		for _, c := range row {
			cells = append(cells, c.Text)
		}
		all = append(all, strings.Join(cells, " | "))
	}
	return strings.Join(all, "\n")
}

func TestDevicesListsGPUs(t *testing.T) {
	whole := gpu.Facts{Name: "Card 100", UUID: "GPU-1", MemoryBytes: new(int64(80 << 30)), ComputeCapability: "9.0",
		ECC: gpu.ModeOn, MIG: gpu.ModeOff}
	for _, row := range []struct {
		name         string
		found        gpu.Inventory
		rows, absent []string
		note         string
	}{
		{
			"none, and why", gpu.Inventory{Why: "no NVIDIA driver was found: not there"},
			[]string{"gpu | found | none"}, []string{"gpu0"}, "GPUs: no NVIDIA driver was found: not there.",
		},
		{
			"one, and one whose facts are not told",
			gpu.Inventory{Driver: "580.65", CUDA: "13.0", Cards: []gpu.Facts{whole, {Index: 3, Name: "Card 7"}}},
			[]string{"gpu0 | model | Card 100", "gpu0 | uuid | GPU-1", "gpu0 | memory | 80.00 GiB", "gpu0 | compute capability | 9.0",
				"gpu0 | ecc | on", "gpu0 | mig | off", "gpu3 | model | Card 7", "cuda | driver | 580.65",
				"cuda | newest CUDA of the driver | 13.0"},
			[]string{"gpu3 | memory", "gpu3 | ecc", "none"}, "nvidia-smi",
		},
		{
			"one is lost", gpu.Inventory{Cards: []gpu.Facts{whole}, Why: "GPU 1: lost"},
			[]string{"gpu0 | model | Card 100"}, nil, "GPUs: GPU 1: lost.",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := catalog.Devices(suite.Host{}, row.found)
			if err != nil {
				t.Fatal(err)
			}
			text := lines(got) + "\n"
			for _, want := range row.rows {
				if !strings.Contains(text, want+"\n") {
					t.Errorf("want the row %q in:\n%s", want, text)
				}
			}
			for _, absent := range row.absent {
				if strings.Contains(text, absent) {
					t.Errorf("want no %q in:\n%s", absent, text)
				}
			}
			if !strings.Contains(strings.Join(got.Notes, "\n"), row.note) {
				t.Errorf("notes: got %q, want %q", got.Notes, row.note)
			}
		})
	}
}

// Cells of baselines name two networks for people and all of them for programs; a file that can't be read is an error.
func TestBaselines(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.MkdirAll(baseline.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	var records []results.Record
	for _, network := range []string{"resnet110", "resnet20", "resnet32"} {
		spec := results.Spec{Method: "bp", Network: network, Dataset: "cifar10", Batch: 8}
		records = append(records, results.Record{Spec: spec, Status: results.StatusDone})
	}
	measured, broken := baseline.File("main"), baseline.File("broken")
	if err := results.WriteCollection(measured, nil, records); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(broken, []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	for whole, want := range map[bool]string{
		false: "main | 3 | measured | resnet20, resnet32 and 1 more | bp",
		true:  "main | 3 | measured | resnet20, resnet32, resnet110 | bp",
	} {
		got, faults := catalog.Baselines([]string{measured, broken}, whole)
		if lines(got) != want || len(faults) != 1 {
			t.Errorf("got %q and the errors %v, want %q and one", lines(got), faults, want)
		}
	}
}

func TestNames(t *testing.T) {
	plain := []suite.Listed{{Name: "a", About: "one"}}
	flags := []suite.Listed{{Name: "b", About: "two", Flags: []string{"--x", "--y"}}}
	if got := catalog.Names("n", "N", plain); len(got.Columns) != 2 || lines(got) != "a | one" {
		t.Errorf("got %d columns and %q, want two", len(got.Columns), lines(got))
	}
	got := catalog.Names("n", "N", append(plain, flags...))
	if len(got.Columns) != 3 || lines(got) != "a | one | \nb | two | --x, --y" {
		t.Errorf("got %d columns and %q, want three", len(got.Columns), lines(got))
	}
}
