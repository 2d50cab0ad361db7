package main

import (
	"encoding/json"
	"errors"
	"fmt"
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
		job, err := readJob(env.Stdin)
		if err != nil {
			_ = events.Encode(suite.Event{Kind: suite.EventDone, Text: string(results.StatusFailed), Error: err.Error()})
			return usage(err)
		}
		return execute(env, job, events)
	}
	return c
}

// maxJobBytes bounds a job; one has some kilobytes.
const maxJobBytes = 1 << 20

func readJob(r io.Reader) (suite.Job, error) {
	var job suite.Job
	bounded := &io.LimitedReader{R: r, N: maxJobBytes}
	decoder := json.NewDecoder(bounded)
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&job)
	if err != nil && bounded.N <= 0 {
		return job, fmt.Errorf("job: standard input has more than %d bytes: must be a job as JSON", maxJobBytes)
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("standard input is empty: must be a job as JSON")
	}
	if err != nil {
		return job, fmt.Errorf("job: %w", err)
	}
	if job.Out == "" {
		return job, errors.New("job: out: must be the folder for the record")
	}
	return job, nil
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
