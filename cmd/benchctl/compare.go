package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/results"
)

// compareFlags are those of `compare`.
type compareFlags struct {
	baseline, thresholds, junit, benchmarks string
	output                                  *output
	metrics                                 []string
	all, annotations, selfTest              bool
	confirm                                 bool
	repeats                                 int
	out, dataDir                            string
}

func compareCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "compare BASE NEW | compare --baseline NAME NEW",
		Short: "hold new records against old ones: what became worse, and by how much",
		Long: "compare takes folders of records, single records or collections. Planned memory,\n" +
			"parameters and FLOPs compare exactly; step time, process peak and accuracy by a test\n" +
			"that assumes no distribution, over repetitions that differ in the seed, corrected\n" +
			"for the number of cells. A regression, or one that cannot be told, ends with exit\n" +
			"code 1; nothing to compare with ends with 4.",
		Example: "  benchctl compare results/before results/after\n  benchctl compare --baseline results/baselines/main.json results/runs --junit report.xml",
	}
	f := &compareFlags{}
	flags := c.Flags()
	flags.SortFlags = false
	define(flags, "baseline", "path", "", "the old side: a file or folder, or a name below results/baselines", word(&f.baseline))
	define(flags, "metrics", "names", "", "compare these only: "+strings.Join(compare.Metrics(), ", "), words(&f.metrics))
	define(flags, "thresholds", "file", "", "YAML file: by how much a metric may become worse, such as memory: 0%, step_time: 5%, top1: -0.5pp", word(&f.thresholds))
	flags.BoolVar(&f.all, "all", false, "list the cells that are the same, too; json and csv always do")
	flags.BoolVar(&f.annotations, "annotations", false, "write GitHub annotations to standard error")
	define(flags, "junit", "file", "", "write the cells as a JUnit test suite", word(&f.junit))
	define(flags, "benchmarks", "file", "", "write the new records as Go benchmark lines, for benchstat", word(&f.benchmarks))
	flags.BoolVar(&f.selfTest, "self-test", false, "plant a byte and a slow-down in the records and see the comparison fail")
	flags.BoolVar(&f.confirm, "confirm", false, "measure noisy cells that are worse or cannot be told again, here and now, and judge by the new runs alone")
	f.repeats = 10
	define(flags, "repeats", "count", "10", "with --confirm: runs of each flagged measurement, at most", one(&f.repeats, number(1, maxSeeds)))
	f.out = filepath.Join("results", "confirm")
	define(flags, "out", "folder", f.out, "with --confirm: of the new records", word(&f.out))
	f.dataDir = env.Getenv("BENCHCTL_DATA")
	if f.dataDir == "" {
		f.dataDir = "data"
	}
	define(flags, "data-dir", "folder", f.dataDir, "with --confirm: where the data sets lie; $BENCHCTL_DATA sets the default", word(&f.dataDir))
	f.output = addOutput(flags)
	c.RunE = func(_ *cobra.Command, args []string) error { return f.run(env, args) }
	return c
}

// noBaselineError says that there is nothing to compare with.
type noBaselineError struct{ cause error }

func (e *noBaselineError) Error() string { return "no baseline: " + e.cause.Error() }
func (e *noBaselineError) Hint() string {
	return "benchctl baseline update NAME --from FOLDER makes one"
}

// apartError says that times of different machines were to be compared.
type apartError struct{ runs []string }

func (e *apartError) Error() string {
	return fmt.Sprintf("compare: times and process memory of different machines cannot be compared: %s", e.runs[0])
}
func (e *apartError) Hint() string {
	return "--metrics planned_peak,arena,parameters,auxiliary_parameters,step_flops,top1 compares the rest"
}

func (f *compareFlags) run(env Env, args []string) error {
	if err := f.output.open(); err != nil {
		return err
	}
	for _, m := range f.metrics {
		if !slices.Contains(compare.Metrics(), m) {
			return usage(fmt.Errorf("metrics: got %q, want some of %s", m, strings.Join(compare.Metrics(), ", ")))
		}
	}
	thresholds, err := readThresholds(f.thresholds)
	if err != nil {
		return usage(err)
	}
	old, new, err := f.sides(env, args)
	if err != nil {
		return err
	}
	if f.selfTest {
		return selfTest(env, new, thresholds)
	}
	c := compare.Run(old, new, thresholds, f.metrics...)
	if f.confirm && len(c.Apart) == 0 {
		if err := f.measureAgain(env, &c, old, new, thresholds); err != nil {
			return err
		}
	}
	if err := f.files(env, c, new); err != nil {
		return usage(err)
	}
	verdict := verdictOfComparison(c)
	if err := env.emit(f.output, answer{tables: c.Tables(f.all || f.output.Name() == "json" || f.output.Name() == "csv")}, verdict); err != nil {
		return err
	}
	if verdict == nil {
		fmt.Fprintln(env.Stderr, "verdict: "+c.Sentence())
	}
	return verdict
}

func verdictOfComparison(c compare.Comparison) error {
	switch {
	case len(c.Apart) > 0:
		return &apartError{c.Apart}
	case len(c.Cells) == 0:
		return &noBaselineError{errors.New("no measurement is on both sides: other methods, networks, settings or status")}
	case len(c.Worst(compare.Regression))+len(c.Worst(compare.Undecided)) > 0:
		return &verdictError{"compare: " + c.Sentence()}
	}
	return nil
}

// sides reads both sides. What is skipped is said on standard error.
func (f *compareFlags) sides(env Env, args []string) (old, new []results.Record, err error) {
	want := 2
	if f.baseline != "" || f.selfTest {
		want = 1
	}
	if len(args) != want {
		return nil, nil, usage(fmt.Errorf("compare: got %d paths, want %s", len(args), [2]string{"NEW with --baseline or --self-test", "BASE and NEW"}[want-1]))
	}
	base := args[0]
	if f.baseline != "" {
		base = baselinePath(f.baseline)
	}
	if old, err = readRecords(env, base, withoutEpochs); err != nil {
		var newer *results.NewerSchemaError
		if errors.As(err, &newer) {
			return nil, nil, err
		}
		return nil, nil, &noBaselineError{err}
	}
	new, err = readRecords(env, args[len(args)-1], withoutEpochs)
	var newer *results.NewerSchemaError
	if err != nil && !errors.As(err, &newer) {
		err = usage(err)
	}
	return old, new, err
}

// withoutEpochs drops most of a long record, which nothing is compared by.
func withoutEpochs(r *results.Record) { r.Accuracy.Epochs = nil }

func readRecords(env Env, path string, each ...func(*results.Record)) ([]results.Record, error) {
	records, warnings, err := results.ReadAny(path, each...)
	for _, w := range warnings {
		warn(env.Stderr, w.String())
	}
	if err == nil && len(records) == 0 {
		err = fmt.Errorf("%s: got no record, want at least one", path)
	}
	return records, err
}

// files writes the other formats.
func (f *compareFlags) files(env Env, c compare.Comparison, new []results.Record) error {
	if f.annotations {
		if err := c.Annotations(env.Stderr); err != nil {
			return err
		}
	}
	if f.junit != "" {
		if err := writeFile(f.junit, c.JUnit); err != nil {
			return fmt.Errorf("junit: %w", err)
		}
	}
	if f.benchmarks != "" {
		err := writeFile(f.benchmarks, func(w io.Writer) error { return compare.Benchmarks(w, new) })
		if err != nil {
			return fmt.Errorf("benchmarks: %w", err)
		}
	}
	return nil
}

// writeFile writes a file beside its place, synced and renamed. A link stays one, and what is there and
// no file, such as a pipe, is written to.
func writeFile(path string, write func(io.Writer) error) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(file), file.Close())
	}
	file, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o666))
	if err != nil {
		return err
	}
	defer file.Cleanup()
	if err := write(file); err != nil {
		return err
	}
	return file.CloseAtomicallyReplace()
}

// readThresholds reads a YAML file of metrics; memory stands for planned_peak and
// arena. A percentage is relative, pp are points of accuracy; the sign says which
// way is meant and is not looked at.
func readThresholds(path string) (compare.Thresholds, error) {
	t := compare.Defaults()
	if path == "" {
		return t, nil
	}
	entries, err := readYAML(path)
	if err != nil {
		return nil, fmt.Errorf("thresholds: %w", err)
	}
	for _, e := range entries {
		name := e.key
		value, err := yamlScalar(e.value)
		if err != nil {
			return nil, fmt.Errorf("thresholds: %s:%d: %s: %w", path, e.line, shown(name), err)
		}
		x, err := parseThreshold(value)
		if err != nil {
			return nil, fmt.Errorf("thresholds: %s:%d: %s: %w", path, e.line, shown(name), err)
		}
		switch {
		case name == "memory":
			t["planned_peak"], t["arena"] = x, x
		case slices.Contains(compare.Metrics(), name):
			t[name] = x
		default:
			return nil, fmt.Errorf("thresholds: %s:%d: got %s, want memory or one of %s", path, e.line, quoted(name), strings.Join(compare.Metrics(), ", "))
		}
	}
	return t, nil
}

func parseThreshold(text string) (float64, error) {
	digits, ok := strings.CutSuffix(strings.TrimSpace(text), "pp")
	if !ok {
		digits, ok = strings.CutSuffix(strings.TrimSpace(text), "%")
	}
	x, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if !ok || err != nil || math.IsNaN(x) {
		return 0, fmt.Errorf("got %s, want a percentage such as 5%%, or points such as 0.5pp", quoted(text))
	}
	return math.Abs(x) / 100, nil
}

// selfTest plants faults in copies of the records: each must be found, and the same
// against the same must pass.
func selfTest(env Env, records []results.Record, t compare.Thresholds) error {
	exact := []string{"planned_peak", "arena", "parameters", "auxiliary_parameters", "step_flops"}
	if bad := compare.Run(records, records, t, exact...).Worst(compare.Regression); len(bad) > 0 {
		return &verdictError{"compare: self-test: the same against the same is called worse"}
	}
	planted := slices.Clone(records)
	for i := range planted {
		if p := planted[i].Memory.PlannedPeakBytes; p != nil {
			more := *p + 1
			planted[i].Memory.PlannedPeakBytes = &more
		}
	}
	if bad := compare.Run(records, planted, t, "planned_peak").Worst(compare.Regression); len(bad) == 0 {
		return &verdictError{"compare: self-test: one byte more of planned memory was not found"}
	}
	repeated := func(slow float64) (out []results.Record) {
		r := records[0]
		for seed := range uint64(20) {
			r.Spec.Seed = seed
			r.Time.StepSeconds = &results.Distribution{Median: slow * (1 + 0.01*math.Sin(float64(seed)*7.3)), N: 1}
			out = append(out, r)
		}
		return out
	}
	if bad := compare.Run(repeated(1), repeated(1.05), t, "step_time").Worst(compare.Regression); len(bad) != 1 {
		return &verdictError{"compare: self-test: a slow-down of 5 % over 20 repetitions was not found"}
	}
	fmt.Fprintln(env.Stdout, "self-test: a byte more and a slow-down of 5 % are found, the same passes")
	return nil
}

// baselinePath is the file or folder of a baseline: a path, or a name below
// results/baselines.
func baselinePath(name string) string {
	if _, err := os.Stat(name); err == nil || strings.ContainsRune(name, os.PathSeparator) {
		return name
	}
	return filepath.Join(baselineDir, strings.TrimSuffix(name, ".json")+".json")
}

// baselineDir is where baselines lie, under version control.
var baselineDir = filepath.Join("results", "baselines")
