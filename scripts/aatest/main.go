// Command aatest measures how often `benchctl compare --interleave` is wrong on this machine, as it is now: it compares a program
// with itself, where every regression is a false alarm, and with a copy that is slower by a known factor.
//
//	go run ./scripts/aatest -benchctl bin/benchctl
//
// The slower copy is this command as a wrapper of benchctl: it lets benchctl do the run and then multiplies the step times in
// the record, so that the planted slow-down has the noise of the real runs and no other. The exit code is 1 if more than one
// A/A comparison in 20 is called a regression, or fewer than 18 slow-downs in 20 are found.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

func main() {
	var e experiment
	var err error
	flag.StringVar(&e.benchctl, "benchctl", filepath.Join("bin", "benchctl"), "program to compare with itself")
	flag.IntVar(&e.comparisons, "comparisons", 20, "comparisons of each kind")
	flag.IntVar(&e.pairs, "pairs", 9, "pairs of a comparison")
	flag.IntVar(&e.turns, "turns", 5, "runs of each program in a pair")
	flag.Float64Var(&e.factor, "slow", 1.1, "factor of the planted slow-down")
	flag.StringVar(&e.metric, "metric", "step_cpu", "metric to judge")
	flag.StringVar(&e.kinds, "kinds", "aa,slow", "kinds of comparisons: aa, slow or both")
	runFlags := flag.String("run",
		"--methods bp --networks resnet20 --batch 8 --train-limit 64 --test-limit 8 --epochs 1 --threads 1",
		"flags of run: what is measured")
	wrapped := flag.String("wrap", "",
		"used by the experiment itself: run this program with the arguments and multiply the step times in its record by -slow")
	flag.Parse()
	e.runFlags = strings.Fields(*runFlags)
	if *wrapped != "" {
		err = wrap(*wrapped, flag.Args(), e.factor)
	} else {
		err = e.run(os.Stdout)
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && *wrapped != "":
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "aatest: "+err.Error())
		os.Exit(1)
	}
}

type experiment struct {
	benchctl, metric, kinds   string
	comparisons, pairs, turns int
	factor                    float64
	runFlags                  []string
}

func (e experiment) run(w io.Writer) error {
	dir, err := os.MkdirTemp("", "aatest-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if e.benchctl, err = filepath.Abs(e.benchctl); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	slow := filepath.Join(dir, "slower")
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' -slow %g -wrap '%s' -- \"$@\"\n", self, e.factor, e.benchctl)
	if err := os.WriteFile(slow, []byte(script), 0o777); err != nil {
		return err
	}
	fmt.Fprintf(w, "%d comparisons of %d pairs of %d turns, metric %s, run %s\nload average %s\n", e.comparisons, e.pairs, e.turns,
		e.metric, strings.Join(e.runFlags, " "), load())
	worse := map[string]int{}
	kinds := strings.Split(e.kinds, ",")
	for k := range e.comparisons {
		for _, kind := range kinds {
			program, name := e.benchctl, "A/A"
			if kind == "slow" {
				program, name = slow, fmt.Sprintf("%+.0f %%", 100*(e.factor-1))
			}
			cell, err := e.compare(program, k+1, filepath.Join(dir, fmt.Sprint(kind, k)))
			if err != nil {
				return err
			}
			if strings.HasPrefix(cell["verdict"], "regression") {
				worse[kind]++
			}
			fmt.Fprintf(w, "%s %d: %s, change %s, interval %s, detectable change %s\n", name, k+1, cell["verdict"], cell["change"],
				cell["interval"], cell["smallest"])
		}
	}
	fmt.Fprintf(w, "load average %s\n", load())
	bad := false
	if slices.Contains(kinds, "aa") {
		fmt.Fprintf(w, "A/A: %d false alarms in %d comparisons\n", worse["aa"], e.comparisons)
		bad = bad || 20*worse["aa"] > e.comparisons
	}
	if slices.Contains(kinds, "slow") {
		fmt.Fprintf(w, "slow-down of %.0f %%: found in %d of %d comparisons\n", 100*(e.factor-1), worse["slow"], e.comparisons)
		bad = bad || 20*worse["slow"] < 18*e.comparisons
	}
	if bad {
		return errors.New("too many errors: at most 1 false alarm and at least 18 of 20 slow-downs found are acceptable")
	}
	return nil
}

// compare is one comparison; it returns the texts of its only cell by column.
func (e experiment) compare(program string, order int, out string) (map[string]string, error) {
	args := append([]string{"compare", "--interleave", e.benchctl, program, "--pairs", fmt.Sprint(e.pairs), "--turns",
		fmt.Sprint(e.turns), "--order-seed", fmt.Sprint(order),
		"--metrics", e.metric, "--out", out, "--format", "json", "--"}, e.runFlags...)
	command := exec.Command(e.benchctl, args...)
	var faults bytes.Buffer
	command.Stderr = &faults
	text, err := command.Output()
	var answer struct {
		Tables []struct {
			Rows []map[string]struct {
				Text string `json:"text"`
			} `json:"rows"`
		} `json:"tables"`
	}
	if json.Unmarshal(text, &answer) != nil || len(answer.Tables) != 1 || len(answer.Tables[0].Rows) != 1 {
		return nil, fmt.Errorf("benchctl compare: %v: %s", err, faults.String()) //nolint:errorlint // err may be nil
	}
	cell := map[string]string{}
	for key, c := range answer.Tables[0].Rows[0] {
		cell[key] = c.Text
	}
	return cell, nil
}

// wrap runs a program and multiplies the step times in the record of the job that it is given.
func wrap(program string, args []string, factor float64) error {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	command := exec.Command(program, args...)
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(text), os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		return err
	}
	var job suite.Job
	if err := json.Unmarshal(text, &job); err != nil {
		return err
	}
	r, err := results.Read(results.Path(job.Out, results.SpecID(job.Spec)))
	if err != nil {
		return err
	}
	for _, d := range []*results.Distribution{r.Time.StepSeconds, r.Time.StepCPUSeconds} {
		if d != nil {
			d.Median, d.P05, d.P95 = factor*d.Median, factor*d.P05, factor*d.P95
		}
	}
	return results.Write(job.Out, r)
}

// load is the load average of the machine over 1, 5 and 15 minutes.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "not known"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
