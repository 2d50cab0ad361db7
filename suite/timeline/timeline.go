// Package timeline writes the memory of a step, op by op, in the formats of
// common tools: Chrome trace (Perfetto), CSV, and the memory snapshot of
// PyTorch. The input is a plan; it need not have run.
package timeline

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"

	ogorek "github.com/kisielk/og-rek"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/plan"
)

// Step is one training step: its ops, and the values alive during each of them.
type Step struct {
	Label       string // "resnet32 auglocal cifar10 b128 d2"
	Graph       *graph.Graph
	Samples     []plan.Sample     // bytes alive at each op
	Allocations []plan.Allocation // everything in the arena
	ArenaBytes  int64
	// Seconds are the times of the ops; nil for a plan. Then each op takes a
	// microsecond, and the time axis is the position in the program.
	Seconds []float64
}

// starts returns when each op begins and, last, when the step ends, in microseconds.
func (s Step) starts() []float64 {
	at := make([]float64, len(s.Graph.Ops)+1)
	for i := range s.Graph.Ops {
		at[i+1] = at[i] + 1
		if s.Seconds != nil {
			at[i+1] = at[i] + 1e6*s.Seconds[i]
		}
	}
	return at
}

// chromeEvent is an event of the trace event format.
type chromeEvent struct {
	Name      string         `json:"name"`
	Category  string         `json:"cat,omitempty"`
	Phase     string         `json:"ph"`
	Process   int            `json:"pid"`
	Thread    int            `json:"tid,omitempty"`
	Time      float64        `json:"ts"`             // microseconds
	Duration  float64        `json:"dur,omitempty"`  // microseconds
	Arguments map[string]any `json:"args,omitempty"` // maps are written in the order of their keys
}

// The threads of a process in the trace.
const (
	threadModules = 1
	threadPhases  = 2 // and one more for each phase
)

// Chrome writes the steps as a Chrome trace, one process per step: one slice per op on the
// track of its phase, one slice per module above, and bytes by category as counters. It
// opens in ui.perfetto.dev and chrome://tracing.
func Chrome(w io.Writer, steps ...Step) error {
	var events []chromeEvent
	for i, s := range steps {
		events = append(events, s.chrome(i+1)...)
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(map[string]any{"traceEvents": events, "displayTimeUnit": "ms"})
}

func (s Step) chrome(process int) []chromeEvent {
	name := func(kind string, thread int, text string) chromeEvent {
		return chromeEvent{Name: kind, Phase: "M", Process: process, Thread: thread, Arguments: map[string]any{"name": text}}
	}
	label := s.Label
	if s.Seconds == nil {
		label += " (planned: an op is a microsecond)"
	}
	events := []chromeEvent{name("process_name", 0, label), name("thread_name", threadModules, "local modules")}
	for p := range graph.Phase(graph.PhaseCount) {
		events = append(events, name("thread_name", threadPhases+int(p), p.String()))
	}
	at := s.starts()
	for i, op := range s.Graph.Ops {
		events = append(events, chromeEvent{Name: op.Kind.String(), Category: op.Phase.String(), Phase: "X", Process: process,
			Thread: threadPhases + int(op.Phase), Time: at[i], Duration: at[i+1] - at[i],
			Arguments: map[string]any{"op": i, "scope": op.Scope, "module": op.Module}})
		events = append(events, chromeEvent{Name: "bytes alive", Phase: "C", Process: process, Time: at[i],
			Arguments: counters(s.Samples[i])})
	}
	for from := 0; from < len(s.Graph.Ops); {
		to := from
		for to < len(s.Graph.Ops) && s.Graph.Ops[to].Module == s.Graph.Ops[from].Module {
			to++
		}
		events = append(events, chromeEvent{Name: fmt.Sprint("module ", s.Graph.Ops[from].Module), Category: "module", Phase: "X",
			Process: process, Thread: threadModules, Time: at[from], Duration: at[to] - at[from]})
		from = to
	}
	return events
}

func counters(sample plan.Sample) map[string]any {
	out := map[string]any{}
	for c, bytes := range sample {
		out[graph.Category(c).String()] = bytes
	}
	return out
}

// CSV writes a line for each op: position, kind, start, and bytes alive by category and in all. The start of a measured step is
// in microseconds (column start_us); that of a planned one is the position in the program (column start_ops).
func CSV(w io.Writer, s Step) error {
	out := csv.NewWriter(w)
	start, decimals := "start_us", 3
	if s.Seconds == nil {
		start, decimals = "start_ops", 0
	}
	header := []string{"op", "kind", "scope", "module", "phase", start, "total_bytes"}
	for _, c := range graph.Categories() {
		header = append(header, c.String())
	}
	if err := out.Write(header); err != nil {
		return err
	}
	at := s.starts()
	for i, op := range s.Graph.Ops {
		row := []string{strconv.Itoa(i), op.Kind.String(), op.Scope, strconv.Itoa(op.Module), op.Phase.String(),
			strconv.FormatFloat(at[i], 'f', decimals, 64), strconv.FormatInt(s.Samples[i].Total(), 10)}
		for _, bytes := range s.Samples[i] {
			row = append(row, strconv.FormatInt(bytes, 10))
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// The parts of PyTorch's memory snapshot (torch.cuda.memory._snapshot), with the names
// that its viewer expects.
type (
	snapshot struct {
		Segments []segment `pickle:"segments"`
		Traces   [][]trace `pickle:"device_traces"`
	}
	segment struct {
		Address   int64   `pickle:"address"`
		Total     int64   `pickle:"total_size"`
		Allocated int64   `pickle:"allocated_size"`
		Active    int64   `pickle:"active_size"`
		Stream    int     `pickle:"stream"`
		Type      string  `pickle:"segment_type"`
		Blocks    []block `pickle:"blocks"`
	}
	block struct {
		Address   int64   `pickle:"address"`
		Size      int64   `pickle:"size"`
		Requested int64   `pickle:"requested_size"`
		State     string  `pickle:"state"`
		Frames    []frame `pickle:"frames"`
	}
	trace struct {
		Action string  `pickle:"action"`
		Addr   int64   `pickle:"addr"`
		Size   int64   `pickle:"size"`
		Stream int     `pickle:"stream"`
		Time   int64   `pickle:"time_us"`
		Frames []frame `pickle:"frames"`
	}
	frame struct {
		File string `pickle:"filename"`
		Line int    `pickle:"line"`
		Name string `pickle:"name"`
	}
)

// base is the address of the arena in a snapshot; offsets count from it.
const base = 1 << 32

// Snapshot writes the step as a memory snapshot of PyTorch, which its viewer
// (pytorch.org/memory_viz) opens: the arena as one segment, and an allocation with
// its release for everything in it. A frame here is the scope and the owner; there are no
// stacks of Python frames. Values that
// outlive the step are allocated first and never released.
func Snapshot(w io.Writer, s Step) error {
	traces := []trace{{Action: "segment_alloc", Addr: base, Size: s.ArenaBytes}}
	at := s.starts()
	frees := make([][]plan.Allocation, len(s.Graph.Ops)+1)
	arena := segment{Address: base, Total: s.ArenaBytes, Type: "large"}
	next := 0
	free := func(op int) {
		for _, a := range frees[op] {
			t := trace{Addr: base + a.Offset, Size: a.Bytes, Time: int64(at[min(op+1, len(at)-1)]), Frames: frames(a)}
			t.Action = "free_requested"
			traces = append(traces, t)
			t.Action = "free_completed"
			traces = append(traces, t)
		}
	}
	for op := range s.Graph.Ops {
		for ; next < len(s.Allocations) && s.Allocations[next].From <= op; next++ {
			a := s.Allocations[next]
			if a.Offset < 0 {
				continue
			}
			traces = append(traces, trace{Action: "alloc", Addr: base + a.Offset, Size: a.Bytes, Time: int64(at[op]), Frames: frames(a)})
			if a.Category.Persistent() {
				arena.Blocks = append(arena.Blocks, block{Address: base + a.Offset, Size: a.Bytes, Requested: a.Bytes,
					State: "active_allocated", Frames: frames(a)})
				arena.Allocated += a.Bytes
				arena.Active += a.Bytes
				continue
			}
			frees[a.To] = append(frees[a.To], a)
		}
		free(op)
	}
	arena.Blocks = withGaps(arena)
	return ogorek.NewEncoder(w).Encode(snapshot{Segments: []segment{arena}, Traces: [][]trace{traces}})
}

// withGaps returns the blocks of a segment in the order of their addresses, with the parts that are free
// at the end of the step between them: together they cover the segment, as PyTorch's tools require.
func withGaps(s segment) (all []block) {
	slices.SortFunc(s.Blocks, func(a, b block) int { return cmp.Compare(a.Address, b.Address) })
	at := s.Address
	gap := func(to int64) {
		if to > at {
			all = append(all, block{Address: at, Size: to - at, State: "inactive", Frames: []frame{}})
		}
	}
	for _, b := range s.Blocks {
		gap(b.Address)
		all = append(all, b)
		at = b.Address + b.Size
	}
	gap(s.Address + s.Total)
	return all
}

func frames(a plan.Allocation) []frame {
	return []frame{{File: a.Scope, Name: a.Name}, {File: "category", Name: a.Category.String()}}
}

// Save writes steps into a folder, each in CSV and as a snapshot under its name, and all of them in one Chrome trace. It
// returns the files.
func Save(dir string, names []string, steps []Step) (files []string, err error) {
	save := func(name string, write func(io.Writer) error) {
		path := filepath.Join(dir, name)
		if err == nil {
			if err = atomicfile.Write(path, 0o666, write); err == nil {
				files = append(files, path)
			}
		}
	}
	for i, s := range steps {
		save(names[i]+".timeline.csv", func(w io.Writer) error { return CSV(w, s) })
		save(names[i]+".snapshot.pickle", func(w io.Writer) error { return Snapshot(w, s) })
	}
	save("timeline.trace.json", func(w io.Writer) error { return Chrome(w, steps...) })
	return files, err
}
