package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/hostmem"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/train"
)

// ceilings are the rates of a cpu that scripts/cpu_ceilings.cc measures, with all threads of the step.
type ceilings struct {
	Threads int      `json:"threads"`
	ISA     string   `json:"isa"`
	Copies  []copied `json:"copies"`           // ascending sizes: what is small stays in a cache
	FLOPs   float64  `json:"flops_per_second"` // fused multiply-adds, two operations each
}

// copied is the rate of a copy that reads and writes this many bytes in all, by all threads together.
type copied struct {
	Bytes int64   `json:"bytes"`
	Rate  float64 `json:"bytes_per_second"`
}

// rate is the best rate of the copies of as many bytes or more.
func (c ceilings) rate(bytes int64) (best float64) {
	for _, x := range c.Copies {
		if x.Bytes >= bytes || best == 0 && x == c.Copies[len(c.Copies)-1] {
			best = max(best, x.Rate)
		}
	}
	return best
}

// measureCeilings compiles the program and runs it.
func measureCeilings(source string, threads int) (c ceilings, err error) {
	folder, err := os.MkdirTemp("", "cpu-ceilings-")
	if err != nil {
		return c, err
	}
	defer os.RemoveAll(folder)
	program := filepath.Join(folder, "cpu_ceilings")
	compile := exec.Command("g++", "-O3", "-march=native", "-fopenmp", "-o", program, source)
	if text, err := compile.CombinedOutput(); err != nil {
		return c, fmt.Errorf("compiling %s: %w\n%s", source, err, text)
	}
	text, err := exec.Command(program, fmt.Sprint(threads)).Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			err = fmt.Errorf("%w: %s", err, failed.Stderr)
		}
		return c, fmt.Errorf("measuring the cpu: %w", err)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("measuring the cpu: %q: %w", text, err)
	}
	if len(c.Copies) == 0 || c.FLOPs <= 0 || slices.ContainsFunc(c.Copies, func(x copied) bool { return x.Rate <= 0 }) {
		return c, fmt.Errorf("measuring the cpu: %q: the rates must be positive", text)
	}
	return c, nil
}

// seconds are the least times of an op's operations and of its bytes; the longer one is that of the op. Its operands may still
// be in a cache, so its bytes take as long as a copy of as many.
func (c ceilings) seconds(f floor) (arithmetic, data float64) {
	return float64(f.FLOPs) / c.FLOPs, float64(f.Bytes) / c.rate(f.Bytes)
}

// distance is a kind of op, with the time that it has to take and the time that it took, in seconds a step.
type distance struct {
	name             string
	sum              floor
	least, took      float64
	arithmetic, data float64 // of least: the parts of ops that are bound by each
}

// distances are those of the ops of a step, by kind, the one with the most time above its floor first, and of all.
func distances(ops []*graph.Op, took []float64, c ceilings) []distance {
	byKind := map[graph.Kind]*distance{}
	all := distance{name: "all"}
	for i, op := range ops {
		d := byKind[op.Kind]
		if d == nil {
			d = &distance{name: op.Kind.String()}
			byKind[op.Kind] = d
		}
		f := floor{Ops: 1, FLOPs: op.FLOPs(), Bytes: op.Bytes()}
		arithmetic, data := c.seconds(f)
		for _, d := range []*distance{d, &all} {
			d.sum.add(f)
			d.took += took[i]
			d.least += max(arithmetic, data)
			if arithmetic > data {
				d.arithmetic += arithmetic
			} else {
				d.data += data
			}
		}
	}
	var rows []distance
	for _, d := range byKind {
		rows = append(rows, *d)
	}
	slices.SortFunc(rows, func(a, b distance) int {
		return cmp.Or(cmp.Compare(b.took-b.least, a.took-a.least), strings.Compare(a.name, b.name))
	})
	return append(rows, all)
}

// measureFloors runs steps of every method and writes how far their ops are above their floors on this machine.
func (o options) measureFloors(w io.Writer, methods []string) error {
	markdown, err := table.Lookup("markdown")
	if err != nil {
		return err
	}
	c, err := measureCeilings(o.ceilings, o.threads)
	if err != nil {
		return err
	}
	for _, method := range methods {
		ops, took, facts, err := o.fastest(method)
		if err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		t := distanceTable(fmt.Sprintf("%s, %s, batch %d", o.network, method, o.batch), distances(ops, took, c))
		var copies []string
		for _, x := range c.Copies {
			copies = append(copies, fmt.Sprintf("%.0f GB/s of %s", x.Rate/1e9, table.Bytes(x.Bytes)))
		}
		t.Notes = append(t.Notes, fmt.Sprintf("%s, %s, %s, oneDNN %s (%s).", cmp.Or(hostmem.Processor(), "unknown processor"),
			english.Plural(o.threads, "thread", ""), c.ISA, facts["oneDNN"], facts["oneDNN_isa"]),
			fmt.Sprintf("Measured just before: %.0f GFLOP/s of fused multiply-adds, and copies, read and written: %s.", c.FLOPs/1e9,
				strings.Join(copies, ", ")),
			fmt.Sprintf("The time of an op is its least of %d steps.", o.turns*o.steps))
		if err := markdown.Write(w, t); err != nil {
			return err
		}
	}
	return nil
}

// fastest runs turns times steps steps of a method and returns the least time of each op, in seconds: other programs on the
// machine disturb some steps of an op.
func (o options) fastest(method string) (ops []*graph.Op, took []float64, facts map[string]string, err error) {
	run, err := o.ours(method)
	if err != nil {
		return nil, nil, nil, err
	}
	device, err := run.OpenDevice(suite.Host{})
	if err != nil {
		return nil, nil, nil, err
	}
	defer device.Close()
	settings, err := run.SessionOptions(device)
	if err != nil {
		return nil, nil, nil, err
	}
	session, err := train.NewSession(device, settings)
	if err != nil {
		return nil, nil, nil, err
	}
	defer session.Close()
	if err := session.Initialise(1); err != nil {
		return nil, nil, nil, err
	}
	step, err := o.stepper(session, settings.Step.KeepInputs)
	if err != nil {
		return nil, nil, nil, err
	}
	for i := range 1 + o.turns*o.steps { // the first warms up
		if _, err := step(); err != nil {
			return nil, nil, nil, err
		}
		trace := session.Training.Trace(true)
		switch i {
		case 0:
		case 1:
			took = slices.Clone(trace)
		default:
			for j, s := range trace {
				took[j] = min(took[j], s)
			}
		}
	}
	if took == nil {
		return nil, nil, nil, errors.New("-turns and -steps must be at least 1")
	}
	return session.Training.Graph.Ops, took, device.Facts(), nil
}

func distanceTable(title string, rows []distance) table.Table {
	t := table.Table{Title: title, Columns: []table.Column{{Key: "kind", Name: "op"}}}
	for _, c := range []table.Column{{Key: "ops", Name: "ops"}, {Key: "flops", Name: "operations", Unit: "GFLOP"},
		{Key: "bytes", Name: "bytes", Unit: "GB"}, {Key: "least", Name: "floor", Unit: "ms"},
		{Key: "took", Name: "took", Unit: "ms"}, {Key: "times", Name: "times the floor"},
		{Key: "above", Name: "above it", Unit: "ms"}} {
		c.Align = table.AlignRight
		t.Columns = append(t.Columns, c)
	}
	number := func(x float64) table.Cell { return table.Number(x, fmt.Sprintf("%.2f", x)) }
	for _, d := range rows {
		times := table.Cell{}
		if d.least > 0 && !math.IsInf(d.took/d.least, 0) {
			times = number(d.took / d.least)
		}
		t.Rows = append(t.Rows, []table.Cell{table.Text(d.name), table.Number(float64(d.sum.Ops), fmt.Sprint(d.sum.Ops)),
			number(float64(d.sum.FLOPs) / 1e9), number(float64(d.sum.Bytes) / 1e9), number(1e3 * d.least), number(1e3 * d.took), times,
			number(1e3 * (d.took - d.least))})
	}
	if len(rows) > 0 {
		all := rows[len(rows)-1]
		t.Notes = append(t.Notes, fmt.Sprintf("Of the floor %.2f ms are of ops bound by arithmetic and %.2f ms of ops bound by bytes.",
			1e3*all.arithmetic, 1e3*all.data))
	}
	return t
}
