package planned

import (
	"slices"
	"strings"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// tellApart adds a column for each setting in which runs differ that look the same otherwise, after the columns of
// table.SpecColumns, with which the table begins. specs has the spec of each row.
func tellApart(t table.Table, specs []results.Spec) table.Table {
	first := len(table.SpecColumns())
	var all []results.Record
	alike := map[string][]results.Record{} // by the cells of table.SpecColumns
	for i, row := range t.Rows {
		var texts []string
		for _, c := range row[:first] {
			texts = append(texts, c.Text)
		}
		r := results.Record{Spec: specs[i]}
		all, alike[strings.Join(texts, "\n")] = append(all, r), append(alike[strings.Join(texts, "\n")], r)
	}
	apart := map[string]bool{}
	for _, records := range alike {
		for _, name := range results.Varying(records) {
			apart[name] = true
		}
	}
	at := first
	for _, name := range results.Varying(all) {
		short := strings.TrimPrefix(name, "options.")
		if !apart[name] || slices.ContainsFunc(t.Columns, func(c table.Column) bool { return c.Key == short }) {
			continue
		}
		column := table.TextColumn(strings.ReplaceAll(name, ".", "_"), strings.ReplaceAll(short, "_", " ")) // keys as in reports
		t.Columns = slices.Insert(slices.Clone(t.Columns), at, column)
		for i := range t.Rows {
			t.Rows[i] = slices.Insert(slices.Clone(t.Rows[i]), at, table.SettingCell(name, field(all[i], name)))
		}
		at++
	}
	return t
}

// field is the text of a field of a record; empty if it has none.
func field(r results.Record, name string) string {
	for _, f := range results.Fields(r) {
		if f.Name == name {
			return f.Text
		}
	}
	return ""
}

// shared are settings that all plans have in common and that are not the defaults, as the end of a title.
func shared(all []results.Plan, settings ...func(results.Plan) string) (text string) {
	for _, of := range settings {
		first := of(all[0])
		if first != "" && !slices.ContainsFunc(all, func(p results.Plan) bool { return of(p) != first }) {
			text += ", " + first
		}
	}
	return text
}

func optimizer(p results.Plan) string { return p.Spec.Optimizer }
func precision(p results.Plan) string { return strings.TrimPrefix(p.Spec.Precision, "f32") }
func stored(p results.Plan) string    { return named("store", p.Settings.Store) }
func fusedNorm(p results.Plan) string { return named("fuse norm", p.Settings.FuseNorm) }

// named is a setting with its name; empty at its default.
func named(name, value string) string {
	if value == "" {
		return ""
	}
	return name + " " + value
}

// specsOf are the specs of plans.
func specsOf(all []results.Plan) (specs []results.Spec) {
	for _, p := range all {
		specs = append(specs, p.Spec)
	}
	return specs
}

// baselineOf is the memory of bp for the same task; empty for bp itself and where bp is not planned. Of several it is that
// with the same precision, and that stores activations the same way, or else the first.
func baselineOf(all []results.Plan, p results.Plan) results.Memory {
	var first *results.Plan
	for i, c := range all {
		if c.Spec.Method != "bp" || p.Spec.Method == "bp" || c.Spec.Network != p.Spec.Network ||
			c.Spec.Dataset != p.Spec.Dataset || c.Spec.Batch != p.Spec.Batch {
			continue
		}
		if first == nil {
			first = &all[i]
		}
		a, b := c.Settings, p.Settings
		if c.Spec.Precision == p.Spec.Precision && a.Store == b.Store && a.FuseNorm == b.FuseNorm &&
			a.RecomputeNorm == b.RecomputeNorm && a.Budget == b.Budget && a.DeferUpdates == b.DeferUpdates {
			return c.Memory
		}
	}
	if first == nil {
		return results.Memory{}
	}
	return first.Memory
}
