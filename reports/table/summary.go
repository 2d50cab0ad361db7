package table

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/localbench/localbench/results"
)

// Methods lists the methods in the order in which tables and figures show them, that of methods.List, which reports must not
// import (TestMethodsInReportsAreThoseOfMethods); others follow by name.
func Methods() []string {
	return []string{"bp", "checkpoint", "dgl", "predsim", "infopro", "man", "auglocal"}
}

// dataShareLimit is the fraction of the step time spent waiting for data above
// which a step time measures the loader rather than the method.
const dataShareLimit = 0.05

// summaryID is the ID of the table Summary.
const summaryID = "summary"

// Summary is the table of records: a row for each set of runs that differ in the
// seed only (results.Groups), with mean and standard deviation over the seeds.
//
// Method, network, data set and batch always have a column, other settings where
// rows differ in them, quantities where a row has them. Memory and time are also shown
// relative to BP with the same network, data set, batch, precision, backend, paper
// compatibility and machine. Runs that did not finish have a separate row with their status;
// they are never averaged or marked as best. Marks need evidence (quantity.markBest). Notes
// list omitted values.
func Summary(records []results.Record) Table {
	groups, notes := results.Groups(records)
	rows := make([]summaryRow, len(groups))
	for i, g := range groups {
		rows[i] = summaryRow{group: g, first: g.First(), fields: map[string]string{}}
		var settings strings.Builder
		for _, f := range results.Fields(g.First()) {
			rows[i].fields[f.Name] = f.Text
			if f.Text != "" && f.Name != "seed" && !results.MethodField(f.Name) {
				settings.WriteString(f.Name + "\x00" + f.Text + "\x00")
			}
		}
		rows[i].settings = settings.String()
	}
	slices.SortStableFunc(rows, compareRows)
	setBaselines(rows)

	varying := results.Varying(records)
	t := Table{ID: summaryID, Title: summaryTitle(rows, varying), Notes: notes}
	t.Rows = make([][]Cell, len(rows))
	addSettings(&t, rows, varying)
	related, marked := addQuantities(&t, rows)
	t.Notes = append(rowNotes(rows, related), t.Notes...)
	if marked {
		t.Notes = append(t.Notes, "Marked: the smallest planned memory; of measured values the best and all that are not "+
			"significantly worse (rank test at the 5 % level).")
	}
	if note := commonNote(rows, varying); note != "" {
		t.Notes = append([]string{note}, t.Notes...)
	}
	return t
}

// SummaryColumns is a summary without rows that has every column that a summary of runs can have, so that a choice of columns can
// be checked before anything runs. Which of them it will have depends on what differs and on what is measured.
func SummaryColumns(specs []results.Spec) Table {
	t := Table{ID: summaryID}
	add := func(key string) {
		if t.columnIndex(key) < 0 {
			t.Columns = append(t.Columns, Column{Key: key})
		}
	}
	for _, name := range essential() {
		add(name)
	}
	for _, q := range quantities() {
		add(q.column.Key)
	}
	add("seeds")
	add("status")
	for _, s := range specs {
		for _, f := range results.Fields(results.Record{Spec: s}) {
			if f.Name != "seed" {
				add(fieldKey(f.Name))
			}
		}
	}
	return t
}

// fieldKey is the key of the column of a field of a record.
func fieldKey(name string) string { return strings.ReplaceAll(name, ".", "_") }

// summaryRow is a group and its row in the table.
type summaryRow struct {
	group    results.Group
	first    results.Record
	fields   map[string]string // of results.Fields
	settings string            // equal for rows between which otherwise finds no difference
	baseline *summaryRow       // BP to compare with; nil if missing
	doubt    string            // why baseline is missing, or how it differs
}

func (r summaryRow) done() bool { return r.first.Status == results.StatusDone }

// comparable is equal for rows whose memory and time can be compared with each
// other: the same task on the same machine.
func (r summaryRow) comparable() string {
	return r.key("network", "dataset", "image_size", "batch", "precision", "backend", "quirks", "threads",
		"environment.os", "environment.cpu", "environment.threads", "environment.gpu", "environment.driver")
}

// task is equal for rows whose accuracies can be compared with each other.
func (r summaryRow) task() string {
	return r.key("network", "dataset", "image_size", "batch", "epochs", "train_limit", "test_limit", "quirks")
}

func (r summaryRow) key(names ...string) string {
	var b strings.Builder
	for _, name := range names {
		b.WriteString(r.fields[name] + "\x00")
	}
	return b.String()
}

// setBaselines finds the BP that each row is compared with: the only comparable
// one or, of several, the only one that agrees in every setting that does not belong to the
// method.
func setBaselines(rows []summaryRow) {
	candidates := map[string][]*summaryRow{}
	for _, wantDone := range []bool{true, false} { // a BP that ran out of memory still has its plan
		found := map[string][]*summaryRow{}
		for i := range rows {
			if r := &rows[i]; r.first.Spec.Method == "bp" && r.done() == wantDone {
				found[r.comparable()] = append(found[r.comparable()], r)
			}
		}
		for key, bps := range found {
			if candidates[key] == nil {
				candidates[key] = bps
			}
		}
	}
	for i := range rows {
		r := &rows[i]
		if r.first.Spec.Method == "bp" {
			continue
		}
		bps := candidates[r.comparable()]
		if len(bps) > 1 {
			bps = slices.DeleteFunc(slices.Clone(bps), func(bp *summaryRow) bool { return bp.settings != r.settings })
			if len(bps) != 1 {
				r.doubt = fmt.Sprintf("no ratio to BP: %d runs of BP are comparable, and %s agree in all other settings",
					len(candidates[r.comparable()]), [2]string{"none", "several"}[min(len(bps), 1)])
			}
		}
		if len(bps) == 1 {
			r.baseline = bps[0]
			if differ := otherwise(r, bps[0]); len(differ) > 0 {
				r.doubt = "relative to a BP that differs in " + strings.Join(differ, ", ")
			}
		}
	}
}

// otherwise names the settings in which two rows differ though the methods need not.
func otherwise(a, b *summaryRow) []string {
	return slices.DeleteFunc(results.Residue(a.first, b.first), results.MethodField)
}

// summaryTitle names the network, data set and batch that all rows have in common;
// those columns are then quiet.
func summaryTitle(rows []summaryRow, varying []string) string {
	if len(rows) == 0 {
		return "No records"
	}
	s := rows[0].first.Spec
	title := "Summary of runs"
	if !slices.Contains(varying, "network") && !slices.Contains(varying, "dataset") {
		title = s.Network + " on " + s.Dataset
	}
	if !slices.Contains(varying, "batch") {
		title += fmt.Sprintf(", batch %d", s.Batch)
	}
	return title
}

// quiet settings are in the title if all rows agree in them.
func quiet(name string, varying []string) bool {
	switch name {
	case "network", "dataset":
		return !slices.Contains(varying, "network") && !slices.Contains(varying, "dataset")
	case "batch":
		return !slices.Contains(varying, "batch")
	}
	return false
}

// essential settings have a column even if all rows agree.
func essential() []string { return []string{"method", "network", "dataset", "batch"} }

func addSettings(t *Table, rows []summaryRow, varying []string) {
	names := essential()
	for _, name := range varying {
		if !slices.Contains(names, name) && !repeats(rows, names, name) {
			names = append(names, name)
		}
	}
	headings := map[string]bool{}
	for _, name := range names {
		short := strings.TrimPrefix(strings.TrimPrefix(name, "environment."), "options.")
		if headings[short] {
			short = name
		}
		headings[short] = true
		heading := strings.NewReplacer("_", " ", ".", " ", "dataset", "data set").Replace(short)
		c := Column{Key: fieldKey(name), Name: heading, Quiet: quiet(name, varying)}
		if slices.ContainsFunc(rows, func(r summaryRow) bool { return isNumber(r.fields[name]) }) {
			c.Align = AlignRight
		}
		t.Columns = append(t.Columns, c)
		for i, r := range rows {
			t.Rows[i] = append(t.Rows[i], SettingCell(name, r.fields[name]))
		}
	}
	addSeeds(t, rows)
	if slices.ContainsFunc(rows, func(r summaryRow) bool { return !r.done() }) {
		t.Columns = append(t.Columns, Column{Key: "status", Name: "status"})
		for i, r := range rows {
			t.Rows[i] = append(t.Rows[i], Text(string(r.first.Status)))
		}
	}
}

// repeats reports whether a setting repeats one of the named settings with the same values:
// the threads of the spec, of the environment and of the library.
func repeats(rows []summaryRow, names []string, name string) bool {
	last := func(s string) string { return s[strings.LastIndexByte(s, '.')+1:] }
	return slices.ContainsFunc(names, func(other string) bool {
		return last(other) == last(name) && !slices.ContainsFunc(rows,
			func(r summaryRow) bool { return r.fields[other] != r.fields[name] })
	})
}

func addSeeds(t *Table, rows []summaryRow) {
	texts := make([]string, len(rows))
	for i, r := range rows {
		texts[i] = strings.Trim(strings.ReplaceAll(fmt.Sprint(r.group.Seeds()), " ", ","), "[]")
	}
	if len(slices.Compact(slices.Sorted(slices.Values(texts)))) < 2 && !strings.Contains(strings.Join(texts, ""), ",") {
		return
	}
	t.Columns = append(t.Columns, Column{Key: "seeds", Name: "seeds"})
	for i, s := range texts {
		t.Rows[i] = append(t.Rows[i], Text(s))
	}
}

// rowNotes explains the rows: why one has no ratio, what stopped a run, which
// times depend on the loader.
func rowNotes(rows []summaryRow, related bool) (notes []string) {
	if related {
		notes = append(notes, "In brackets: relative to BP with the same network, data set, batch, precision, backend and machine.")
	}
	for _, r := range rows {
		if r.doubt != "" {
			notes = append(notes, r.first.ID+": "+r.doubt+".")
		}
		if !r.done() && r.first.Error != "" {
			notes = append(notes, fmt.Sprintf("%s: %s: %s", r.first.ID, r.first.Status, r.first.Error))
		}
		if slices.ContainsFunc(r.group.Records, endsWithoutLoss) {
			notes = append(notes, r.first.ID+": the test loss of the last epoch is not finite: the training diverged, or the running "+
				"statistics have not converged.")
		}
		share, ok := r.group.Estimate(func(r results.Record) *float64 { return r.Time.DataShare })
		if ok && share.Mean > dataShareLimit {
			notes = append(notes, fmt.Sprintf("%s: %s %% of the step time was spent waiting for data: its times measure the loader.",
				r.first.ID, Percent(share.Mean)))
		}
	}
	return notes
}

// endsWithoutLoss reports whether the last evaluation of a run had a loss that is not finite.
func endsWithoutLoss(r results.Record) bool {
	epochs := r.Accuracy.Epochs
	return len(epochs) > 0 && epochs[len(epochs)-1].TestTop1 != nil && epochs[len(epochs)-1].TestLoss == nil
}

// commonNote lists the settings in which all rows agree, so that a table
// without its records is self-contained.
func commonNote(rows []summaryRow, varying []string) string {
	if len(rows) == 0 {
		return ""
	}
	var order []string
	texts, having, methods := map[string]string{}, map[string]int{}, map[string][]string{}
	placed := 0
	for _, r := range rows {
		if r.first.Placed() {
			placed++
		}
		for _, f := range results.Fields(r.first) {
			shown := slices.Contains(essential(), f.Name) || slices.Contains(varying, f.Name)
			if shown || f.Text == "" || f.Name == "seed" || strings.HasPrefix(f.Name, "environment.libraries.") {
				continue
			}
			if texts[f.Name] == "" {
				order = append(order, f.Name)
			}
			texts[f.Name] = f.Text
			having[f.Name]++
			if !slices.Contains(methods[f.Name], r.first.Spec.Method) {
				methods[f.Name] = append(methods[f.Name], r.first.Spec.Method)
			}
		}
	}
	var common []string
	for _, name := range order {
		if name == "environment.threads" && texts[name] == texts["threads"] {
			continue // as many as were asked for
		}
		short := strings.TrimPrefix(strings.TrimPrefix(name, "environment."), "options.")
		s := strings.ReplaceAll(short, "_", " ") + " " + SettingCell(name, texts[name]).Text
		want := len(rows)
		if strings.HasPrefix(name, "environment.") {
			want = placed
		}
		if having[name] < want {
			s += " (" + strings.Join(methods[name], ", ") + ")"
		}
		common = append(common, s)
	}
	if len(common) == 0 {
		return ""
	}
	return "All runs: " + strings.Join(common, ", ") + "."
}

// compareRows sorts by task, then by method, then by the other settings.
func compareRows(a, b summaryRow) int {
	sa, sb := a.first.Spec, b.first.Spec
	return cmp.Or(
		CompareNatural(sa.Network, sb.Network),
		CompareNatural(sa.Dataset, sb.Dataset),
		cmp.Compare(sa.Batch, sb.Batch),
		CompareMethods(sa.Method, sb.Method),
		cmp.Compare(sa.AuxDepth, sb.AuxDepth),
		cmp.Compare(sa.Modules, sb.Modules),
		CompareNatural(results.Key(a.first), results.Key(b.first)),
		cmp.Compare(sa.Seed, sb.Seed),
	)
}

// CompareMethods orders two methods as Methods does.
func CompareMethods(a, b string) int {
	rank := func(method string) int {
		if i := slices.Index(Methods(), method); i >= 0 {
			return i
		}
		return len(Methods())
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
}

// CompareNatural compares texts with runs of digits as numbers: resnet32 before resnet110.
func CompareNatural(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da > 0 && db > 0 {
			na, nb := strings.TrimLeft(a[:da], "0"), strings.TrimLeft(b[:db], "0")
			if c := cmp.Or(cmp.Compare(len(na), len(nb)), cmp.Compare(na, nb)); c != 0 {
				return c
			}
			a, b = a[da:], b[db:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits is the length of the run of digits at the start.
func digits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }

func isNumber(s string) bool { return digits(s) > 0 }
