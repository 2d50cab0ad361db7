package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/printable"
	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/reports/gate"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/baseline"
	"github.com/localbench/localbench/suite"
)

// compareFlags are those of `compare`.
type compareFlags struct {
	baseline, thresholds, junit, benchmarks string
	output                                  *output
	metrics, acceptMissing                  []string
	inconclusive                            string
	all, annotations, selfTest              bool
	again, inTurns                          bool
	old                                     string
	turns                                   suite.Turns
	repeats                                 int
}

// The policies for inconclusive cells.
const (
	inconclusiveFails = "fail"
	inconclusiveWarns = "warn"
)

func compareCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "compare BASE NEW | compare --baseline NAME NEW | compare --interleave OLD NEW -- FLAGS OF RUN",
		Short: "compare new records with old ones: what became worse, and by how much",
		Long: "compare takes folders of records, single records or collections. Records that differ\n" +
			"in the seed only are repetitions of one measurement. Planned memory, parameters and\n" +
			"FLOPs compare exactly; step time, process peak and accuracy by a rank test at the 5 %\n" +
			"level, corrected for the number of cells.\n\n" +
			"The verdict of each metric of each measurement:\n" +
			"  regression    significantly worse, and the measured change exceeds the threshold\n" +
			"  missing       the old side has it and the new side does not: the runs failed, ran\n" +
			"                out of memory, diverged, or are missing\n" +
			"  inconclusive  no regression, but a change as large as the threshold could have been\n" +
			"                missed: too few repetitions or too much noise\n" +
			"  better        significantly better\n" +
			"  same          all else\n\n" +
			"Exit code 1: a regression, a missing or an inconclusive cell; 4: there is no baseline;\n" +
			"5: a record or baseline cannot be read, or times are of different machines, libraries or\n" +
			"instruction sets, which --metrics can leave out.\n" +
			"docs/comparing.md has the details and examples.\n\n" +
			"With --interleave, OLD and NEW are benchctl programs or git revisions, which are built in a\n" +
			"worktree. Both measure the runs that the flags after -- describe, in turns and in random\n" +
			"order; a signed-rank test judges the changes within the pairs.",
		Example: "  benchctl compare results/before results/after\n" +
			"  benchctl compare --baseline results/baselines/main.json results/runs --junit report.xml\n" +
			"  benchctl compare --interleave main HEAD -- --methods bp --networks resnet20 --batch 8 --train-limit 64",
	}
	f := &compareFlags{inconclusive: inconclusiveFails, turns: suite.Turns{Runner: env.runner(filepath.Join("results", "confirm"))}}
	flags := c.Flags()
	flags.SortFlags = false
	cli.Define(flags, "baseline", "path", "",
		"the old side: a file or folder, or a name below results/baselines", cli.Word(&f.baseline))
	cli.Define(flags, "metrics", "names", "", "compare only these: "+strings.Join(compare.Metrics(), ", "), cli.Words(&f.metrics))
	cli.Define(flags, "thresholds", "file", "",
		"YAML file: a metric that is significantly worse is a regression if the measured change exceeds its threshold; "+
			"memory: 0%, step_time: 5%, process_peak: 5% and top1: 0.5pp are the defaults", cli.Word(&f.thresholds))
	cli.Define(flags, "inconclusive", "policy", f.inconclusive,
		"what an inconclusive cell does: fail (exit code 1) or warn", cli.Word(&f.inconclusive))
	cli.Define(flags, "accept-missing", "pattern", "", "missing measurements that were removed on purpose: a glob such as "+
		"resnet20-auglocal-* or */top1, of RUN or RUN/METRIC; may be repeated", func(s string) error {
		f.acceptMissing = append(f.acceptMissing, s)
		return nil
	})
	flags.BoolVar(&f.all, "all", false, "list unchanged cells too; json and csv always do")
	flags.BoolVar(&f.annotations, "annotations", false, "write GitHub annotations to standard error")
	cli.Define(flags, "junit", "file", "", "write the cells as a JUnit test suite", cli.Word(&f.junit))
	cli.Define(flags, "benchmarks", "file", "",
		"write the new records as Go benchmark lines, for benchstat", cli.Word(&f.benchmarks))
	flags.BoolVar(&f.selfTest, "self-test", false,
		"plant changes in the records that are given and report which of them a comparison would find")
	flags.BoolVar(&f.inTurns, "interleave", false,
		"measure two programs in turns and compare them; the flags of run after -- choose the measurements")
	flags.BoolVar(&f.again, "confirm", false,
		"measure noisy cells that are worse or inconclusive again, here and now, and judge by the new runs alone; "+
			"old and new in turns, if the old program is given or can be built")
	cli.Define(flags, "old", "program", "",
		"with --confirm: the old side's program, or its git revision (default: the commit that its records name)", cli.Word(&f.old))
	addTurns(flags, &f.turns)
	f.repeats = 10
	cli.Define(flags, "repeats", "count", "10",
		"with --confirm, if only the new side is measured: maximum number of runs of each flagged measurement",
		cli.One(&f.repeats, cli.Number(1, maxSeeds)))
	cli.Define(flags, "out", "folder", f.turns.Out,
		"folder for the new records of --confirm; with --interleave the default is results/interleave/TIME", cli.Word(&f.turns.Out))
	cli.Define(flags, "data-dir", "folder", f.turns.DataDir,
		"with --confirm: folder of the data sets; $BENCHCTL_DATA sets the default", cli.Word(&f.turns.DataDir))
	f.output = addOutput(flags)
	c.RunE = func(c *cobra.Command, args []string) error { return f.run(env, c, args) }
	return c
}

func (f *compareFlags) run(env Env, cmd *cobra.Command, args []string) error {
	if err := f.output.open(); err != nil {
		return err
	}
	if err := compare.CheckMetrics(f.metrics); err != nil {
		return usage(err)
	}
	if f.inconclusive != inconclusiveFails && f.inconclusive != inconclusiveWarns {
		return usage(fmt.Errorf("--inconclusive %s: must be %s or %s",
			printable.Quote(f.inconclusive), inconclusiveFails, inconclusiveWarns))
	}
	if err := compare.CheckPatterns(f.acceptMissing); err != nil {
		return usage(fmt.Errorf("--accept-missing %w", err))
	}
	thresholds, err := compare.ReadThresholds(f.thresholds)
	if err != nil {
		return usage(err)
	}
	var c compare.Comparison
	var new []results.Record
	if f.inTurns {
		if c, new, err = f.interleave(env, cmd, args, thresholds); err != nil {
			return usage(err)
		}
	} else {
		var old []results.Record
		if old, new, err = f.sides(env, args); err != nil {
			return err
		}
		if f.selfTest {
			return f.plant(env, new, thresholds)
		}
		c = compare.Run(old, new, thresholds, f.metrics...)
		if f.again && len(c.Apart) == 0 {
			if err := f.confirm(env, &c, old, new, thresholds); err != nil {
				return usage(err)
			}
		}
	}
	unused, err := c.Accept(f.acceptMissing)
	if err != nil {
		return usage(fmt.Errorf("--accept-missing: %w", err))
	}
	for _, pattern := range unused {
		warn(env.Stderr, fmt.Sprintf("--accept-missing %s matches nothing that is missing", printable.Quote(pattern)))
	}
	if err := f.files(env, c, new); err != nil {
		return usage(err)
	}
	verdict := gate.Verdict(c, f.inconclusive == inconclusiveFails)
	out := answer{tables: c.Tables(f.all || f.output.Name() == "json" || f.output.Name() == "csv")}
	if len(c.Worst(compare.Inconclusive)) > 0 && verdict == nil {
		out.sentence = c.Sentence()
	}
	if err := env.emit(f.output, out, verdict); err != nil {
		return err
	}
	if verdict == nil {
		fmt.Fprintln(env.Stderr, "verdict: "+printable.Line(c.Sentence()))
	}
	return verdict
}

// sides reads both sides.
func (f *compareFlags) sides(env Env, args []string) (old, new []results.Record, err error) {
	want, needed := 2, "BASE and NEW are needed"
	if f.baseline != "" || f.selfTest {
		want, needed = 1, "with --baseline or --self-test one path is needed, that of the records"
	}
	if len(args) != want {
		return nil, nil, usage(fmt.Errorf("compare: %s given: %s", english.Plural(len(args), "path is", "paths are"), needed))
	}
	base := ""
	switch {
	case f.baseline != "":
		base = baseline.Path(f.baseline)
	case !f.selfTest:
		base = args[0]
	}
	old, new, err = gate.Sides(base, args[len(args)-1])
	return old, new, usage(err)
}

// files writes the other formats.
func (f *compareFlags) files(env Env, c compare.Comparison, new []results.Record) error {
	if f.annotations {
		level := "error"
		if f.inconclusive == inconclusiveWarns {
			level = "warning"
		}
		if err := c.Annotations(env.Stderr, level); err != nil {
			return err
		}
	}
	if f.junit != "" {
		warn := f.inconclusive == inconclusiveWarns
		if err := atomicfile.WriteThrough(f.junit, 0o666, func(w io.Writer) error { return c.JUnit(w, warn) }); err != nil {
			return fmt.Errorf("junit: %w", err)
		}
	}
	if f.benchmarks != "" {
		err := atomicfile.WriteThrough(f.benchmarks, 0o666, func(w io.Writer) error { return compare.Benchmarks(w, new) })
		if err != nil {
			return fmt.Errorf("benchmarks: %w", err)
		}
	}
	return nil
}

// plant is the self-test.
func (f *compareFlags) plant(env Env, records []results.Record, t compare.Thresholds) error {
	lines, fault := compare.SelfTestLines(records, t, f.inconclusive == inconclusiveFails, f.metrics...)
	for _, line := range lines {
		fmt.Fprintln(env.Stdout, "self-test: "+printable.Line(line))
	}
	if fault != "" {
		return &gate.FailedError{Text: "compare: self-test: " + fault}
	}
	return nil
}
