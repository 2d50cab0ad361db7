// Package plans answers `benchctl plan` and `benchctl profile`: package suite plans and measures runs, and this package makes
// tables and files of it.
package plans

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/names"
	"github.com/localbench/localbench/reports/diff"
	"github.com/localbench/localbench/reports/planned"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/planbook"
	"github.com/localbench/localbench/suite"
)

// The policies under which memory is planned.
const (
	PolicyPlanned = "planned" // our arena
	PolicyEager   = "eager"   // what an eager framework with a caching allocator would report
)

// CheckPolicy says that a policy is none of these.
func CheckPolicy(name string) error {
	if name != PolicyPlanned && name != PolicyEager {
		return fmt.Errorf("--policy %s: must be %s or %s", name, PolicyPlanned, PolicyEager)
	}
	return nil
}

// Options say what is planned, and which tables are made of it.
type Options struct {
	Host   suite.Host
	Policy string
	GPU    string           // that is planned for, by a part of its name; empty: the one of this machine
	Job    suite.JobOptions // of the runs that are planned
	Fit    Fit
	Curve  int // points of each run's curve of memory against computation; 0: no curve
	// Against is the network, method or file of records that the plans are compared with; empty: none. Limit is the growth
	// that is accepted; nil: any.
	Against string
	Limit   *diff.Limit
	Export  string // folder of timelines and plots; empty: none is written
	Details bool   // also of more than one run
	Whole   bool   // tables are for programs: all rows and columns
	Plain   bool   // tables have no block characters
}

// Answer is what is printed of plans.
type Answer struct {
	Tables                  []table.Table
	Plots                   []string // files that were written
	Backend, Precision, GPU string   // that was planned for; empty where there are several or none
	Verdict                 error    // of a check that failed, such as *gate.FailedError; nil if none did
}

// Run plans the runs of a request.
func (o *Options) Run(request suite.Request) (a Answer, err error) {
	bytes, err := o.Fit.bytes(o.Host, o.GPU)
	switch {
	case err != nil:
		return a, err
	case CheckPolicy(o.Policy) != nil:
		return a, CheckPolicy(o.Policy)
	case o.Policy == PolicyEager && request.CheckEager() != nil:
		return a, request.CheckEager()
	case o.Against != "":
		return o.against(request)
	}
	fit := bytes > 0 || o.Fit.Process > 0
	if fit { // a batch of a configuration file is one of the runs that it also describes
		request.Batches = []int64{1}
	}
	runs, planner, err := o.build(request)
	if err != nil {
		return a, err
	}
	if o.Fit.Process > 0 && runs[0].Spec.Backend != "cpu" {
		return a, fmt.Errorf("--fit-process with --backend %s: must be cpu: it measures the memory of the process, "+
			"where other backends do not keep the arena", runs[0].Spec.Backend)
	}
	a.Backend, a.Precision = runs[0].Spec.Backend, runs[0].Spec.Precision
	a.Tables, err = OnDevice(o.Host, runs[0], planner, func(d engine.Device, gpu string) (tables []table.Table, err error) {
		if planner != "" {
			a.GPU = gpu
		}
		switch {
		case fit:
			tables, a.Verdict, err = o.fit(d, runs, bytes)
		case o.Curve > 0:
			tables, a.Plots, err = o.curves(d, gpu, runs)
		default:
			tables, a.Plots, err = o.tables(d, gpu, runs)
		}
		return tables, err
	})
	return a, err
}

// build builds the runs of a request. planner is the GPU that our own step is planned for.
func (o *Options) build(request suite.Request) (runs []*suite.Run, planner string, err error) {
	planner = o.GPU
	if request.Backend == "" || request.Backend == "auto" {
		switch {
		case o.Policy == PolicyEager: // which needs no CUDA library
			planner = ""
		case o.GPU != "":
			request.Backend = "cuda"
			for i := range request.More {
				request.More[i].Backend = "cuda"
			}
		}
	}
	runs, err = request.Build()
	return runs, planner, err
}

// Dump prints the program of the training step of the one run of a request after a pass.
func (o *Options) Dump(w io.Writer, request suite.Request, pass string) error {
	runs, planner, err := o.build(request)
	if err != nil {
		return err
	}
	if len(runs) > 1 {
		return fmt.Errorf("--dump with %d runs: must be one run: choose one method, network and batch", len(runs))
	}
	_, err = OnDevice(o.Host, runs[0], planner, func(d engine.Device, _ string) ([]table.Table, error) {
		return nil, runs[0].DumpPass(w, d, pass)
	})
	var unknown *names.UnknownError
	if errors.As(err, &unknown) {
		err = fmt.Errorf("--dump: %w", err)
	}
	return err
}

// OnDevice opens a device that plans all runs of a request, of which this is one, as their own one or as the GPU of that name,
// whose whole name use is told. The first table says what is not exact about such plans.
func OnDevice(h suite.Host, run *suite.Run, gpu string,
	use func(d engine.Device, gpu string) ([]table.Table, error)) ([]table.Table, error) {
	d, name, note, err := run.OpenPlannerOrBook(h, gpu)
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	defer d.Close()
	tables, err := use(d, name)
	for _, sentence := range []string{note, suite.UnusedTuning(d)} {
		if err == nil && sentence != "" && len(tables) > 0 {
			tables[0].Notes = append(tables[0].Notes, sentence)
		}
	}
	return tables, err
}

// tables are the sizes of every run, and what the peaks are made of.
func (o *Options) tables(d engine.Device, gpu string, runs []*suite.Run) (tables []table.Table, files []string, err error) {
	plans, compiled, err := suite.Plans(d, runs, o.Job)
	if err != nil {
		return nil, nil, err
	}
	if o.Policy == PolicyEager {
		tables = []table.Table{planned.Eager(plans, o.GPU, library(o.GPU))}
	} else if tables, err = o.sizes(plans, compiled, gpu); err != nil {
		return nil, nil, err
	}
	if o.Export != "" {
		files, err = export(o.Export, compiled, nil)
	}
	return tables, files, err
}

// sizes are the tables of plans of our arena.
func (o *Options) sizes(plans []results.Plan, compiled []*suite.Compiled, gpu string) ([]table.Table, error) {
	tables := []table.Table{planned.Sizes(plans), planned.Categories(plans, !o.Whole), planned.Overlap(plans),
		planned.Store(plans), planned.Budget(plans)}
	kind, rates, err := o.known(gpu)
	if err != nil {
		return nil, err
	}
	if kind != nil && kind.MemoryBytes() > 0 {
		tables[0].Notes = append(tables[0].Notes, planned.FitNote(kind.MemoryBytes(), plans))
	}
	if rates != nil {
		suite.AddRooflines(plans, compiled, *rates)
		tables = append(tables, planned.Roofline(gpu, rates.Source, plans))
	}
	// The first two are there for every run; the others only if they say something of one.
	tables = append(tables[:2], slices.DeleteFunc(tables[2:], func(t table.Table) bool { return len(t.Rows) == 0 })...)
	if o.Details || len(plans) == 1 {
		for _, p := range plans {
			tables = append(tables, planned.Details(p, !o.Plain)...)
		}
	}
	return tables, nil
}

// known is what the tuning cache knows of a GPU, and its rates; nil if it knows nothing.
func (o *Options) known(gpu string) (*planbook.GPU, *planbook.Rates, error) {
	kind, err := suite.KnownGPU(o.Host, gpu)
	if err != nil || kind == nil {
		return nil, nil, err
	}
	return kind, kind.Rates, nil
}

// Describe are the tables of networks and their modules.
func Describe(h suite.Host, runs []*suite.Run) ([]table.Table, error) {
	return OnDevice(h, runs[0], "", func(d engine.Device, _ string) ([]table.Table, error) {
		plans, _, err := suite.Plans(d, runs, suite.JobOptions{})
		if err != nil {
			return nil, err
		}
		tables := planned.Describe(plans)
		for _, r := range runs[1:] {
			if r.Spec.Network != runs[0].Spec.Network || r.Spec.Dataset != runs[0].Spec.Dataset {
				return tables, nil
			}
		}
		units, err := runs[0].Units()
		return append(tables, planned.Units(runs[0].Spec.Network, units)), err
	})
}

// Audit proves that the modules of runs are isolated; broken is the number of runs whose modules are not.
func Audit(h suite.Host, runs []*suite.Run) (tables []table.Table, broken int, err error) {
	tables, err = OnDevice(h, runs[0], "", func(d engine.Device, _ string) (tables []table.Table, err error) {
		audits := make([]results.Audit, len(runs))
		for i, run := range runs {
			if audits[i], err = run.Audit(d); err != nil {
				return nil, err
			}
		}
		tables, broken = planned.Isolation(audits)
		return tables, nil
	})
	return tables, broken, err
}

// Runs is the table of what would be run. Other settings have a column where runs differ in them.
func Runs(runs []*suite.Run) table.Table {
	var records []results.Record
	for _, r := range runs {
		records = append(records, results.Record{Spec: r.Spec})
	}
	shown := []string{"method", "network", "dataset", "batch", "aux_depth", "modules", "seed", "epochs"}
	others := slices.DeleteFunc(results.Varying(records), func(name string) bool { return slices.Contains(shown, name) })
	t := table.Table{ID: "runs", Title: english.Plural(len(runs), "run", ""), Columns: append(
		table.SpecColumns(),
		table.NumberColumn("seed", "seed"),
		table.NumberColumn("epochs", "epochs"),
		table.TextColumn("id", "id"),
	)}
	for _, name := range others {
		t.Columns = append(t.Columns, table.TextColumn(name, strings.TrimPrefix(name, "options.")))
	}
	for i, r := range runs {
		row := append(
			table.SpecCells(r.Spec, int64(r.ModuleCount())),
			table.Number(float64(r.Spec.Seed), fmt.Sprint(r.Spec.Seed)),
			table.Number(float64(r.Spec.Epochs), fmt.Sprint(r.Spec.Epochs)),
			table.Text(r.ID()),
		)
		texts := map[string]string{}
		for _, f := range results.Fields(records[i]) {
			texts[f.Name] = f.Text
		}
		for _, name := range others {
			row = append(row, table.SettingCell(name, texts[name]))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
