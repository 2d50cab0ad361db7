package main

import (
	"encoding/json"
	"io"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// executeCommand is the process of one run: a suite.Job as JSON on standard
// input, suite.Events as JSON lines on standard output. `run` starts it, so that
// the peak memory of a run is its own; a cluster's launcher may start it too.
func executeCommand(env Env) *cobra.Command {
	c := &cobra.Command{
		Use:    "execute",
		Short:  "execute one run in this process: reads a job as JSON, writes events as JSON lines",
		Hidden: true,
		Args:   noArguments,
	}
	c.RunE = func(*cobra.Command, []string) error {
		events := json.NewEncoder(env.Stdout)
		job, err := suite.ReadJob(env.Stdin)
		if err != nil {
			_ = events.Encode(suite.Event{Kind: suite.EventDone, Text: string(results.StatusFailed), Error: err.Error()})
			return usage(err)
		}
		return execute(env, job, events)
	}
	return c
}

func execute(env Env, job suite.Job, events *json.Encoder) error {
	quiet := env
	quiet.Stderr = io.Discard // the sweep says it
	ctx, stop := interrupts(quiet, "")
	defer stop()
	record, err := suite.Execute(ctx, env.host(), job, env.Now, func(e suite.Event) {
		_ = events.Encode(e) // the reader may be gone: the record has all results
	})
	if err == nil {
		return nil
	}
	ended := &runError{status: results.StatusFailed, cause: err}
	if record != nil && record.Status != "" && record.Status != results.StatusDone {
		ended.status = record.Status
	}
	return ended
}
