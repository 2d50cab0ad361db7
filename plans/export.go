package plans

import (
	"fmt"
	"path/filepath"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/reports/figure"
	"github.com/localbench/localbench/reports/planned"
	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/timeline"
)

// export writes the timelines of all runs, with the seconds of their ops where they have run, and returns the files.
func export(dir string, all []*suite.Compiled, ran []planned.Profiled) ([]string, error) {
	if err := atomicfile.MakeFolder(dir); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	var steps []timeline.Step
	var lines []figure.Timeline
	var ids []string
	for i, p := range all {
		var seconds []float64
		if ran != nil {
			seconds = ran[i].Found.OpSeconds
		}
		s := p.Timeline(planned.Label(p.Spec), seconds)
		steps, lines = append(steps, s), append(lines, figure.PlanTimeline(s.Label, p.Plan()))
		ids = append(ids, results.SpecID(p.Spec))
	}
	files, err := timeline.Save(dir, ids, steps)
	if err != nil {
		return files, fmt.Errorf("export: %w", err)
	}
	drawn, err := figure.MemoryOverStep(lines)
	if err != nil {
		return files, err
	}
	for i, f := range drawn {
		saved, err := figure.Save(f, filepath.Join(dir, ids[i]+".timeline"))
		files = append(files, saved...)
		if err != nil {
			return files, err
		}
	}
	return files, nil
}

// curves are the runs' curves of memory against computation, and the files of their plot.
func (o *Options) curves(d engine.Device, gpu string, runs []*suite.Run) ([]table.Table, []string, error) {
	_, rates, err := o.known(gpu)
	if err != nil {
		return nil, nil, err
	}
	curves, err := suite.Curves(d, runs, o.Curve, rates)
	if err != nil {
		return nil, nil, err
	}
	var plots []string
	if o.Export != "" {
		drawn, err := figure.MemoryAgainstFLOPs(curves)
		if err != nil {
			return nil, nil, err
		}
		if err := atomicfile.MakeFolder(o.Export); err != nil {
			return nil, nil, fmt.Errorf("export: %w", err)
		}
		if plots, err = figure.Save(drawn, filepath.Join(o.Export, "curve")); err != nil {
			return nil, nil, fmt.Errorf("export: %w", err)
		}
	}
	return []table.Table{planned.Curves(curves)}, plots, nil
}
