package compare

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/yamlfile"
)

// Thresholds are by metric: a ratio, or a difference of fractions for accuracies. A metric without one
// has that of Defaults.
type Thresholds map[string]float64

// Defaults are the thresholds without a thresholds file.
func Defaults() Thresholds {
	t := Thresholds{}
	for _, m := range metrics() {
		t[m.name] = m.threshold
	}
	return t
}

func (t Thresholds) of(m metric) float64 {
	if x, ok := t[m.name]; ok {
		return x
	}
	return m.threshold
}

// memory is a name for all metrics of plannedMemory.
const memory = "memory"

func plannedMemory() []string { return []string{"planned_peak", "step_arena", "arena"} }

// Set sets the threshold of a metric, or of memory, from text: "5%" for a relative change, "0.5pp"
// (percentage points) for an accuracy. An error completes a sentence that begins with the text.
func (t Thresholds) Set(name, text string) error {
	if name == memory {
		var err error
		for _, name := range plannedMemory() {
			err = cmp.Or(err, t.Set(name, text))
		}
		return err
	}
	m, ok := metricOf(name)
	if !ok {
		return fmt.Errorf("names an unknown metric: the metrics are %s and %s", memory, strings.Join(Metrics(), ", "))
	}
	unit, meaning := "%", "a percentage of the old value, such as 5%"
	if m.points {
		unit, meaning = "pp", "percentage points, such as 0.5pp"
	}
	digits, ok := strings.CutSuffix(strings.TrimSpace(text), unit)
	x, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	switch {
	case !ok || err != nil || math.IsNaN(x) || math.IsInf(x, 0):
		return fmt.Errorf("must be in %s: %s", unit, meaning)
	case math.Signbit(x):
		return errors.New("must not be negative: a threshold is by how much the metric may become worse")
	}
	t[name] = x / 100
	return nil
}

// ReadThresholds reads a YAML file of metrics; memory stands for all that are planned.
// Thresholds says how values are written.
func ReadThresholds(path string) (Thresholds, error) {
	t := Defaults()
	if path == "" {
		return t, nil
	}
	entries, err := yamlfile.Read(path)
	if err != nil {
		return nil, fmt.Errorf("thresholds: %w", err)
	}
	return t, t.setAll(path, entries)
}

// setAll sets what the lines of a file say.
func (t Thresholds) setAll(path string, entries []yamlfile.Entry) error {
	for _, e := range entries {
		value, err := yamlfile.Scalar(e.Value)
		if err != nil {
			return fmt.Errorf("thresholds: %s:%d: %s: %w", path, e.Line, printable.Name(e.Key), err)
		}
		if known := append([]string{"memory"}, Metrics()...); !slices.Contains(known, e.Key) {
			return fmt.Errorf("thresholds: %s:%d: %s is not a metric: use one of %s",
				path, e.Line, printable.Quote(e.Key), strings.Join(known, ", "))
		}
		if err := t.Set(e.Key, value); err != nil {
			return fmt.Errorf("thresholds: %s:%d: %s: %s %w", path, e.Line, printable.Name(e.Key), printable.Quote(value), err)
		}
	}
	return nil
}
