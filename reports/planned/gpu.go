package planned

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// Roofline is what the steps of plans take by the data sheet of a GPU, whose rates are from source. It has no rows where
// no plan has a roofline.
func Roofline(gpu, source string, all []results.Plan) table.Table {
	t := table.Table{
		ID:    "roofline",
		Title: "A step by the data sheet of " + gpu,
		Columns: runColumns(
			table.NumberColumn("step_flops", "operations [GFLOP]"),
			table.NumberColumn("step_bytes", "bytes moved [GB]"),
			table.NumberColumn("arithmetic_ms", "arithmetic [ms]"),
			table.NumberColumn("memory_ms", "memory [ms]"),
			table.NumberColumn("roofline_ms", "op by op [ms]"),
			table.NumberColumn("samples_per_second", "samples/s"),
			table.NumberColumn("epoch_s", "epoch [s]"),
		),
	}
	number := func(x float64) table.Cell {
		return table.Number(x, fmt.Sprintf("%.*f", max(0, 3-int(math.Log10(x))), x))
	}
	var specs []results.Spec
	for _, p := range all {
		r := p.Roofline
		if r == nil {
			continue
		}
		addRun(&t, p, number(float64(r.FLOPs)/1e9), number(float64(r.Bytes)/1e9), number(1e3*r.Arithmetic), number(1e3*r.Memory),
			number(1e3*r.Seconds), number(float64(p.Spec.Batch)/r.Seconds), number(float64(r.Steps)*r.Seconds))
		specs = append(specs, p.Spec)
	}
	t.Notes = []string{"Op by op: each takes as long as its operations or its bytes at the rates of the data sheet (" + source +
		"), each operand read once. A lower bound, not a prediction: kernels need more time, unless caches save reads."}
	return tellApart(t, specs)
}

// FitNote says which runs do not fit into the memory of a GPU, in bytes.
func FitNote(has int64, all []results.Plan) string {
	var large []string
	for _, p := range all {
		if arena := *p.Memory.ArenaBytes; arena > has {
			large = append(large, fmt.Sprintf("%s of %s with batch %d needs %s",
				p.Spec.Method, p.Spec.Network, p.Spec.Batch, table.Bytes(arena)))
		}
	}
	memory := "the GPU's memory of " + table.Bytes(has) + ", of which driver and libraries take their part"
	if len(large) == 0 && slices.ContainsFunc(all, func(p results.Plan) bool { return p.UnknownWorkspaces > 0 }) {
		return "Without the workspaces that are not known all fit into " + memory + "; with them it cannot be told."
	}
	if len(large) == 0 {
		return "All fit into " + memory + "."
	}
	return "Does not fit into " + memory + ": " + strings.Join(large, "; ") + "."
}

// Eager is what an eager framework would report for the steps, on a GPU of that name if it is not empty. library is the
// workspace of cuBLAS there; nil where it is not known.
func Eager(all []results.Plan, gpu string, library *int64) table.Table {
	var records []results.Record
	for _, p := range all {
		records = append(records, p.Record())
	}
	t := table.EagerRows("The same step in an eager framework, predicted"+shared(all, optimizer), records)
	t.Notes = []string{"Without memory of libraries. Workspaces of convolutions are in \"allocated, with search\" only: " +
		"an estimate of the first step of a program that tries all algorithms."}
	switch {
	case library != nil:
		t.Columns = append(t.Columns, table.NumberColumn("eager_library_bytes", "cuBLAS workspaces"))
		t.Notes = append(t.Notes, "cuBLAS workspaces, on "+gpu+", are in none of the other figures: a program there reports them "+
			"on top of max_memory_allocated.")
	case gpu != "":
		t.Notes = append(t.Notes, "How much workspace cuBLAS gets on "+gpu+" is not known.")
	default:
		t.Notes = append(t.Notes, "On a GPU the workspaces of cuBLAS come on top of max_memory_allocated: --gpu h100 shows them.")
	}
	variants := map[string]bool{}
	for _, p := range all {
		if variant := p.Settings.Eager; variant != "" && !variants[variant] {
			variants[variant] = true
			t.Notes = append(t.Notes, "The program of "+p.Spec.Method+" differs from PyTorch's defaults: "+variant+".")
		}
	}
	first := len(table.SpecColumns())
	related := false
	for i, p := range all {
		bp := baselineOf(all, p)
		if bp.EagerAllocatedBytes != nil && !related {
			related = true
			t.Notes = append(t.Notes, relatedNote)
		}
		if p.Memory.EagerAllocatedBytes == nil {
			t.Notes = []string{"For a step in bf16 nothing is predicted: the model lacks the casts that frameworks insert."}
		}
		for j, baseline := range table.EagerSizes(bp) {
			t.Rows[i][first+j] = table.Over(t.Rows[i][first+j], baseline)
		}
		if library != nil {
			t.Rows[i] = append(t.Rows[i], table.BytesCell(library))
		}
	}
	return tellApart(t, specsOf(all))
}
