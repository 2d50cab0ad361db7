package table

import "github.com/localbench/localbench/names"

// metricKeys maps names of metrics, as in `benchctl compare` where it has them, to columns of Summary.
var metricKeys = []struct{ metric, key string }{
	{"top1", "last_top1"}, {"best_top1", "best_top1"}, {"selected_top1", "selected_top1"},
	{"top5", "last_top5"}, {"best_top5", "best_top5"},
	{"planned_peak", "planned_peak_bytes"}, {"step_arena", "step_arena_bytes"}, {"arena", "arena_bytes"},
	{"process_peak", "process_peak_bytes"}, {"driver_peak", "driver_peak_bytes"},
	{"step_time", "step_seconds"}, {"throughput", "samples_per_second"}, {"energy", "epoch_energy_joules"},
}

// Metrics lists the metrics that Summary has columns for.
func Metrics() (all []string) {
	for _, m := range metricKeys {
		all = append(all, m.metric)
	}
	return all
}

// WithMetrics is a summary with the columns of these metrics only, in the given order, after those that identify the run of a
// row. Without metrics it is the table itself. A requested column is never
// quiet. An unknown metric is a *names.UnknownError.
func (t Table) WithMetrics(metrics []string) (Table, error) {
	if len(metrics) == 0 {
		return t, nil
	}
	measured := map[string]int{} // place of the column, or -1
	for _, m := range metricKeys {
		measured[m.key] = t.columnIndex(m.key)
	}
	var columns []int
	for i, c := range t.Columns {
		if _, ok := measured[c.Key]; !ok {
			columns = append(columns, i)
		}
	}
	settings := len(columns)
	for _, name := range metrics {
		m, err := names.Find("metric", name, metricKeys, func(m struct{ metric, key string }) string { return m.metric })
		if err != nil {
			return Table{}, err
		}
		if i := measured[m.key]; i >= 0 {
			columns = append(columns, i)
		}
	}
	out := t.project(columns)
	for i := range out.Columns[settings:] {
		out.Columns[settings+i].Quiet = false
	}
	return out, nil
}
