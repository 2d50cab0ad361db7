package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/meter"
)

// probeCommand does what `benchctl run` does with one run, for a few steps, and prints the memory of both processes: a
// suite.Job as JSON on standard input, a suite.ProcessMemory as JSON on standard output. `plan --fit-process` starts it,
// because its own process is larger than that of `benchctl run`.
func probeCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:    "probe",
		Short:  "measure the memory of one run and of the process that starts it: reads a job as JSON, writes sizes as JSON",
		Hidden: true,
		Args:   noArguments,
	}
	c.RunE = func(*cobra.Command, []string) error {
		var job suite.Job
		if err := json.NewDecoder(env.Stdin).Decode(&job); err != nil {
			return usage(fmt.Errorf("job: %w", err))
		}
		out, err := os.MkdirTemp("", "benchctl-probe-*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(out)
		run, err := suite.Build(job.Spec)
		if err != nil {
			return usage(err)
		}
		runner := env.runner(out)
		runner.DataDir, runner.JobOptions = job.DataDir, job.JobOptions
		if err := runner.Preflight(env.host(), []*suite.Run{run}); err != nil {
			return usage(err)
		}
		debug.FreeOSMemory()
		if err := meter.Self().ResetPeak(); err != nil {
			return err
		}
		ctx, stop := interrupts(env, "the probe ends")
		defer stop()
		found, err := runner.Probe(ctx, job.Spec)
		if err != nil {
			return err
		}
		own, err := meter.Self().Memory()
		if err != nil {
			return err
		}
		if own.PeakBytes == nil || own.PageTableBytes == nil {
			return errors.New("the system does not report the memory of a process")
		}
		found.SweepBytes = *own.PeakBytes + *own.PageTableBytes
		return json.NewEncoder(env.Stdout).Encode(found)
	}
	return c
}
