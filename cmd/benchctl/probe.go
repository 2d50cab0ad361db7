package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/suite"
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
		ctx, stop := interrupts(env, "the probe ends")
		defer stop()
		runner := env.runner("")
		runner.DataDir, runner.JobOptions = job.DataDir, job.JobOptions
		found, err := runner.ProbeBoth(ctx, env.host(), job.Spec)
		if err != nil {
			return usage(err)
		}
		return json.NewEncoder(env.Stdout).Encode(found)
	}
	return c
}
