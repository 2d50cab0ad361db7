package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results/planbook"
	"github.com/localbench/localbench/suite"
)

// floor is a lower bound of a training step: the operations of its convolutions and linear
// layers, and the bytes if every op reads each operand once and writes each result once.
type floor struct {
	Ops   int   `json:"ops"`
	FLOPs int64 `json:"flops"`
	Bytes int64 `json:"bytes"` // of f32 tensors
	// HalfBytes is Bytes with activations and their gradients in bf16. Parameters, statistics, the
	// gradients of parameters and momentum stay f32.
	HalfBytes int64 `json:"half_bytes"`
	// AgainBytes are the bytes that the backward pass of a normalisation reads a second time: its sums must
	// be complete before it writes.
	AgainBytes int64 `json:"again_bytes"`
}

func (f *floor) add(g floor) {
	f.Ops += g.Ops
	f.FLOPs += g.FLOPs
	f.Bytes += g.Bytes
	f.HalfBytes += g.HalfBytes
	f.AgainBytes += g.AgainBytes
}

// floorsOf are the floors of a step by kind of op.
func floorsOf(g *graph.Graph) map[graph.Kind]floor {
	parameters := map[*graph.Value]bool{} // gradients of them
	for _, op := range g.Ops {
		if op.Kind.Updates() {
			parameters[op.Operands[1]] = true
		}
	}
	out := map[graph.Kind]floor{}
	for _, op := range g.Ops {
		f := floor{Ops: 1, FLOPs: op.FLOPs(), Bytes: op.Bytes()}
		f.HalfBytes = f.Bytes
		for _, v := range slices.Concat(op.Operands, op.Results) {
			if v != nil && v.Type == graph.TypeF32 && len(v.Shape) > 1 && !v.Category.Persistent() && !parameters[v] {
				f.HalfBytes -= v.Bytes() / 2
			}
		}
		if op.Kind == graph.KindNormBackward {
			f.AgainBytes = op.Operands[0].Bytes() + op.Operands[1].Bytes()
		}
		sum := out[op.Kind]
		sum.add(f)
		out[op.Kind] = sum
	}
	return out
}

// stepOf is the training step of a run.
func stepOf(run *suite.Run) (*core.Step, error) {
	o, err := run.SessionOptions(nil) // no device: there is no budget
	if err != nil {
		return nil, err
	}
	return core.TrainingStep(o.Stages, o.Step)
}

// printFloors writes the floors of every method as Markdown.
func (o options) printFloors(w io.Writer, methods []string) error {
	markdown, err := table.Lookup("markdown")
	if err != nil {
		return err
	}
	book, err := planbook.Open(o.book)
	if err != nil {
		return err
	}
	h100, err := book.Find("h100")
	if err != nil {
		return err
	}
	for _, method := range methods {
		run, err := o.ours(method)
		if err != nil {
			return err
		}
		step, err := stepOf(run)
		if err != nil {
			return err
		}
		if err := markdown.Write(w, floorTable(fmt.Sprintf("%s, %s, batch %d", o.network, method, o.batch), floorsOf(step.Graph),
			*h100.Rates)); err != nil {
			return err
		}
	}
	return nil
}

func floorTable(title string, floors map[graph.Kind]floor, rates planbook.Rates) table.Table {
	t := table.Table{Title: title, Columns: []table.Column{{Key: "kind", Name: "op"}}}
	for _, c := range []table.Column{{Key: "ops", Name: "ops"}, {Key: "flops", Name: "operations", Unit: "GFLOP"},
		{Key: "bytes", Name: "f32", Unit: "GB"}, {Key: "half_bytes", Name: "bf16", Unit: "GB"},
		{Key: "again_bytes", Name: "read again, f32", Unit: "GB"}} {
		c.Align = table.AlignRight
		t.Columns = append(t.Columns, c)
	}
	row := func(name string, f floor) {
		cells := []table.Cell{table.Text(name), table.Number(float64(f.Ops), fmt.Sprint(f.Ops))}
		for _, x := range []int64{f.FLOPs, f.Bytes, f.HalfBytes, f.AgainBytes} {
			cells = append(cells, table.Number(float64(x), fmt.Sprintf("%.2f", float64(x)/1e9)))
		}
		t.Rows = append(t.Rows, cells)
	}
	sum := floor{}
	for _, k := range graph.Kinds() {
		if f, ok := floors[k]; ok {
			row(k.String(), f)
			sum.add(f)
		}
	}
	row("all", sum)
	ms := func(amount int64, rate float64) float64 { return 1e3 * float64(amount) / rate }
	t.Notes = []string{
		fmt.Sprintf("tf32: %.2f ms of arithmetic, %.2f ms of bytes.", ms(sum.FLOPs, rates.FLOPs["tf32"]), ms(sum.Bytes, rates.Bytes)),
		fmt.Sprintf("bf16: %.2f ms of arithmetic, %.2f ms of bytes.",
			ms(sum.FLOPs, rates.FLOPs["bf16"]), ms(sum.HalfBytes, rates.Bytes)),
		fmt.Sprintf("f32 without tensor cores: %.2f ms of arithmetic.", ms(sum.FLOPs, rates.FLOPs["f32"])),
	}
	return t
}
