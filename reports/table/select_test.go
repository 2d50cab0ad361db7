package table

import (
	"reflect"
	"strings"
	"testing"
)

func keysOf(t Table) (keys []string) {
	for _, c := range t.Columns {
		keys = append(keys, c.Key)
	}
	return keys
}

func TestSelect(t *testing.T) {
	column := func(key string) Column { return Column{Key: key, Name: key, Quiet: key == "quiet"} }
	memory := Table{ID: "memory", Columns: []Column{column("method"), column("quiet"), column("peak_bytes")},
		Rows: [][]Cell{{Text("bp"), Text("q"), Text("1")}}}
	largest := Table{ID: "largest", Columns: []Column{column("value"), column("peak_bytes")}, Rows: [][]Cell{{Text("v"), Text("2")}}}
	all := []Table{memory, largest}

	got, err := Select(all, "", []string{"peak_bytes", "quiet"})
	if err != nil || len(got) != 2 {
		t.Fatalf("got %d tables, %v", len(got), err)
	}
	if keys := keysOf(got[0]); !reflect.DeepEqual(keys, []string{"peak_bytes", "quiet"}) || got[0].Columns[1].Quiet {
		t.Errorf("the order that was asked for, and nothing quiet: got %v", got[0].Columns)
	}
	if row := got[0].Rows[0]; row[0].Text != "1" || row[1].Text != "q" {
		t.Errorf("cells go with their columns: got %v", row)
	}
	if keys := keysOf(got[1]); !reflect.DeepEqual(keys, []string{"peak_bytes"}) {
		t.Errorf("got %v", keys)
	}
	if got, err := Select(all, "largest", nil); err != nil || len(got) != 1 || got[0].ID != "largest" {
		t.Errorf("got %v, %v", got, err)
	}
	for _, c := range []struct {
		id, key, want string
	}{
		{"memroy", "", `unknown table "memroy": did you mean "memory"?`},
		{"", "peek_bytes", `unknown column "peek_bytes": did you mean "peak_bytes"?`},
		{"largest", "method", `unknown column "method": Known: value, peak_bytes`}, // of another table
	} {
		var keys []string
		if c.key != "" {
			keys = []string{c.key}
		}
		if _, err := Select(all, c.id, keys); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s %s: got %v, want %s", c.id, c.key, err, c.want)
		}
	}
}

func TestSingle(t *testing.T) {
	of := func(id, run, value string) Table {
		return Table{ID: id, Run: run, Columns: []Column{{Key: "value", Name: "value"}}, Rows: [][]Cell{{Text(value)}}}
	}
	one, others := Single([]Table{of("largest", "a", "1"), of("scopes", "a", "x"), of("largest", "b", "2"), of("scopes", "b", "y")})
	if !reflect.DeepEqual(others, []string{"scopes"}) || !reflect.DeepEqual(keysOf(one), []string{"run", "value"}) {
		t.Errorf("got columns %v, others %v", keysOf(one), others)
	}
	if len(one.Rows) != 2 || one.Rows[1][0].Text != "b" || one.Rows[1][1].Text != "2" {
		t.Errorf("got %v", one.Rows)
	}
	if one, others := Single([]Table{of("memory", "", "1")}); len(others) != 0 ||
		!reflect.DeepEqual(keysOf(one), []string{"value"}) {
		t.Errorf("a single table stays as it is: got %v, others %v", keysOf(one), others)
	}
}

// Each metric is a quantity that Summary measures, and each quantity has a metric: a new one must be put into both lists.
func TestMetricsAreTheQuantities(t *testing.T) {
	quantity := map[string]bool{}
	for _, q := range quantities() {
		quantity[q.column.Key] = true
	}
	for _, m := range metricKeys {
		if !quantity[m.key] {
			t.Errorf("metric %s: Summary has no column %s", m.metric, m.key)
		}
		delete(quantity, m.key)
	}
	for key := range quantity {
		t.Errorf("column %s has no metric", key)
	}
}

func TestWithMetrics(t *testing.T) {
	full := Table{Columns: []Column{{Key: "method"}, {Key: "last_top1"}, {Key: "planned_peak_bytes"}, {Key: "step_seconds"}},
		Rows: [][]Cell{{Text("bp"), Text("93"), Text("100 MiB"), Text("5")}}}
	got, err := full.WithMetrics([]string{"step_time", "planned_peak", "energy"}) // energy was not measured
	if err != nil || !reflect.DeepEqual(keysOf(got), []string{"method", "step_seconds", "planned_peak_bytes"}) ||
		got.Rows[0][1].Text != "5" {
		t.Errorf("got %v, %v", got, err)
	}
	full.Columns[2].Quiet = true
	if got, err := full.WithMetrics([]string{"planned_peak"}); err != nil || got.Columns[1].Quiet || !full.Columns[2].Quiet {
		t.Errorf("a requested column is shown, and the table it is taken from stays: got %v, %v", got.Columns, err)
	}
	full.Columns[2].Quiet = false
	if _, err := full.WithMetrics([]string{"steptime"}); err == nil || !strings.Contains(err.Error(), `did you mean "step_time"?`) {
		t.Errorf("got %v", err)
	}
}
