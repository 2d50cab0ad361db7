package results

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Field is one setting of a run or one property of its environment.
type Field struct {
	Name string // as in the record: batch, options.mode, environment.cpu
	Text string // its value; empty if the record does not have it
}

// environmentPrefix begins the names of the environment's fields.
const environmentPrefix = "environment."

// Fields lists the spec's fields, then the environment's, in the order of the
// record. Two records that agree on all of them but "seed" may be averaged.
func Fields(record Record) []Field {
	spec := fields("", reflect.ValueOf(record.Spec))
	return append(spec, fields(environmentPrefix, reflect.ValueOf(record.Environment))...)
}

// Residue names the fields, except the seed, in which two records differ.
// Records with a residue must not be averaged.
func Residue(a, b Record) []string {
	values := map[string]string{}
	for _, f := range Fields(a) {
		values[f.Name] = f.Text
	}
	var differ []string
	for _, f := range Fields(b) {
		if values[f.Name] != f.Text && f.Name != "seed" {
			differ = append(differ, f.Name)
		}
		delete(values, f.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) { // only a has them
		if values[name] != "" && name != "seed" {
			differ = append(differ, name)
		}
	}
	return differ
}

func fields(prefix string, v reflect.Value) []Field {
	var out []Field
	for i := 0; i < v.NumField(); i++ {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		name, x := prefix+name, v.Field(i)
		if x.Kind() == reflect.Map {
			for _, key := range slices.Sorted(maps.Keys(x.Interface().(map[string]string))) {
				out = append(out, Field{name + "." + key, x.MapIndex(reflect.ValueOf(key)).String()})
			}
			continue
		}
		text := ""
		if options == "" || !x.IsZero() {
			text = fmt.Sprint(reflect.Indirect(x).Interface())
		}
		out = append(out, Field{name, text})
	}
	return out
}

// MethodField reports whether a field of Fields belongs to the method, so that only
// some methods have it: aux_depth, modules, options.mode. Other options, such as options.store, are at their defaults in
// records that lack them.
func MethodField(name string) bool {
	own := []string{"method", "aux_depth", "modules", "pyramid", "pyramid_coefficient", "selection",
		"options.cuts", "options.mode", "options.coefficients", "options.head", "options.program", "options.segment"}
	return slices.Contains(own, name)
}

// Placed reports whether a run got far enough to record its environment.
func (r Record) Placed() bool { return !reflect.ValueOf(r.Environment).IsZero() }

// Varying names the fields, except the seed, that distinguish the records, in the
// order of Fields: those in which not all agree. For fields that belong to methods,
// methods without the field do not count, and for the environment's
// runs that failed before it was recorded do not count.
func Varying(records []Record) []string {
	methods, placed := map[string]int{}, 0
	var order []string
	texts := map[string]map[string]int{}  // field, text: how many have it
	having := map[string]map[string]int{} // field, method: how many have any
	for _, r := range records {
		methods[r.Spec.Method]++
		if r.Placed() {
			placed++
		}
		for _, f := range Fields(r) {
			if texts[f.Name] == nil {
				texts[f.Name], having[f.Name] = map[string]int{}, map[string]int{}
				order = append(order, f.Name)
			}
			if f.Text != "" {
				texts[f.Name][f.Text]++
				having[f.Name][r.Spec.Method]++
			}
		}
	}
	return slices.DeleteFunc(order, func(name string) bool {
		have, lack := 0, false
		for method, n := range having[name] {
			have += n
			lack = lack || n < methods[method] // some runs of the same method have it
		}
		switch {
		case strings.HasPrefix(name, environmentPrefix):
			lack = have > 0 && have < placed
		case !MethodField(name):
			lack = have > 0 && have < len(records)
		}
		return name == "seed" || len(texts[name]) < 2 && !lack
	})
}
