package results

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
)

const (
	maxFaults   = 5   // as many sentences as a reader takes in
	maxIDLength = 200 // file systems take 255, with room for what a writer adds
)

// Validate returns the first few violations of the schema,
// each with the path of its field.
//
// Of numbers that are not finite, measured ones (pointers, phase seconds,
// elements of a Series) are valid, because Write omits them or writes
// null. Elsewhere (the spec, a distribution, a learning rate) they are errors.
func (r Record) Validate() error {
	var c check
	if r.Schema != Schema {
		c.fault("schema", "%d: must be %d", r.Schema, Schema)
	}
	if !validID(r.ID) {
		c.fault("id", "%q: must be 1 to %d letters, digits, '.', '_' or '-', not starting with '.'", r.ID, maxIDLength)
	}
	if !slices.Contains(Statuses(), r.Status) {
		c.fault("status", "%q: must be one of %v", r.Status, Statuses())
	}
	for i, year := range []int{r.Started.Year(), r.Finished.Year()} {
		if year < 0 || year > 9999 {
			c.fault([]string{"started", "finished"}[i], "year %d: must be 0 to 9999", year)
		}
	}
	for _, field := range [][2]string{{"method", r.Spec.Method}, {"network", r.Spec.Network}, {"dataset", r.Spec.Dataset}} {
		if field[1] == "" {
			c.fault("spec."+field[0], "missing")
		}
	}
	c.fractions(r)
	c.times(r)
	c.numbers(nil, reflect.ValueOf(r))
	return errors.Join(c.faults...)
}

type check struct{ faults []error }

func (c *check) fault(place, format string, args ...any) {
	if len(c.faults) < maxFaults {
		c.faults = append(c.faults, fmt.Errorf("%s: %s", place, fmt.Sprintf(format, args...)))
	}
}

func (c *check) fractions(r Record) {
	one := func(x *float64, place string, index ...any) {
		if x != nil && (*x < 0 || *x > 1) {
			c.fault(fmt.Sprintf(place, index...), "%v: must be a fraction in [0, 1]", *x)
		}
	}
	one(r.Time.DataShare, "time.data_share")
	one(r.Accuracy.BestTop1, "accuracy.best_top1")
	one(r.Accuracy.LastTop1, "accuracy.last_top1")
	one(r.Accuracy.SelectedTop1, "accuracy.selected_top1")
	one(r.Accuracy.BestTop5, "accuracy.best_top5")
	one(r.Accuracy.LastTop5, "accuracy.last_top5")
	for i, e := range r.Accuracy.Epochs {
		one(e.TrainTop1, "accuracy.epochs[%d].train_top1", i)
		one(e.TestTop1, "accuracy.epochs[%d].test_top1", i)
		one(e.TestTop5, "accuracy.epochs[%d].test_top5", i)
		one(e.ValTop1, "accuracy.epochs[%d].val_top1", i)
		for j, h := range e.Heads {
			one(h.TestTop1, "accuracy.epochs[%d].heads[%d].test_top1", i, j)
		}
	}
}

// times rejects negative times and rates.
func (c *check) times(r Record) {
	one := func(x *float64, place string, index ...any) {
		if x != nil && *x < 0 {
			c.fault(fmt.Sprintf(place, index...), "%v: must not be negative", *x)
		}
	}
	t := r.Time
	for i, d := range []*Distribution{t.StepSeconds, t.StepCPUSeconds} {
		if name := []string{"step_seconds", "step_cpu_seconds"}[i]; d != nil {
			one(&d.Median, "time.%s.median", name)
			one(&d.P05, "time.%s.p05", name)
			one(&d.P95, "time.%s.p95", name)
		}
	}
	one(t.SamplesPerSecond, "time.samples_per_second")
	for _, phase := range slices.Sorted(maps.Keys(t.PhaseSeconds)) {
		seconds := t.PhaseSeconds[phase]
		one(&seconds, "time.phase_seconds.%s", phase)
	}
	one(t.TrainSeconds, "time.train_seconds")
	one(t.EvalSeconds, "time.eval_seconds")
	one(t.DataWaitSeconds, "time.data_wait_seconds")
	for i, e := range r.Accuracy.Epochs {
		one(e.Seconds, "accuracy.epochs[%d].seconds", i)
	}
}

// numbers rejects required numbers that are not finite, and sizes and counts
// below zero. A module's index and the difference of two sizes may be negative. A record
// has tens of thousands of numbers: paths are computed for errors only.
func (c *check) numbers(at *step, v reflect.Value) {
	switch v.Kind() {
	case reflect.Float64:
		if !finite(v.Float()) {
			c.fault(at.String(), "%v: must be finite", v.Float())
		}
	case reflect.Int64:
		if v.Int() >= 0 {
			return
		}
		if place := at.String(); !strings.HasSuffix(place, ".module") && !strings.HasSuffix(place, ".delta_bytes") {
			c.fault(place, "%d: must be at least 0", v.Int())
		}
	case reflect.Pointer:
		if !v.IsNil() && v.Elem().Kind() != reflect.Float64 {
			c.numbers(at, v.Elem())
		}
	case reflect.Slice:
		for i := 0; i < v.Len() && v.Type() != reflect.TypeFor[Series](); i++ {
			c.numbers(&step{before: at, index: i}, v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if v.Type().Elem().Kind() == reflect.Int64 {
				c.numbers(&step{before: at, key: key.String()}, v.MapIndex(key))
			}
		}
	case reflect.Struct:
		for i := 0; i < v.NumField(); i++ {
			if v.Field(i).CanInterface() {
				c.numbers(&step{before: at, of: v.Type(), index: i}, v.Field(i))
			}
		}
	}
}

// step is one step of the path to a value in a record: a field of a type, a key, or an
// element of a list.
type step struct {
	before *step
	of     reflect.Type
	index  int
	key    string
}

// String is the path: accuracy.epochs[0].lr.
func (s *step) String() string {
	switch {
	case s == nil:
		return ""
	case s.key != "":
		return s.before.String() + "." + s.key
	case s.of == nil:
		return fmt.Sprintf("%s[%d]", s.before, s.index)
	}
	name, _, _ := strings.Cut(s.of.Field(s.index).Tag.Get("json"), ",")
	return strings.TrimPrefix(s.before.String()+"."+name, ".")
}

// withoutNonFinite copies a value and omits measured numbers that are not
// finite: a pointer becomes nil, an entry of a map is removed. A Series writes null by
// itself. Empty lists and maps become nil, so that they are absent too. The original shares nothing with the copy that the copy
// changes.
func withoutNonFinite(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		if v.Elem().Kind() == reflect.Float64 && !finite(v.Elem().Float()) {
			return reflect.Zero(v.Type())
		}
	case reflect.Slice:
		if v.Len() == 0 {
			return reflect.Zero(v.Type())
		}
		if v.Type().Elem().Kind() != reflect.Struct {
			return v
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := 0; i < v.Len(); i++ {
			out.Index(i).Set(withoutNonFinite(v.Index(i)))
		}
		return out
	case reflect.Map:
		if v.Len() == 0 {
			return reflect.Zero(v.Type())
		}
		if v.Type().Elem().Kind() != reflect.Float64 {
			return v
		}
		out := reflect.MakeMap(v.Type())
		for _, key := range v.MapKeys() {
			if x := v.MapIndex(key); finite(x.Float()) {
				out.SetMapIndex(key, x)
			}
		}
		if out.Len() == 0 {
			return reflect.Zero(v.Type())
		}
		return out
	case reflect.Struct:
		out := reflect.New(v.Type()).Elem()
		out.Set(v)
		for i := 0; i < v.NumField(); i++ {
			if v.Type().Field(i).IsExported() {
				out.Field(i).Set(withoutNonFinite(v.Field(i)))
			}
		}
		return out
	}
	return v
}

// validID reports whether the id is a valid file name on all systems.
func validID(id string) bool {
	if id == "" || len(id) > maxIDLength || id[0] == '.' {
		return false
	}
	for _, r := range id {
		plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !plain && !strings.ContainsRune("._-", r) {
			return false
		}
	}
	return true
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
