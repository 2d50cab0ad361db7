package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestWorkflow: the workflow for others is YAML of the form that GitHub reads, its commands and their
// flags exist, and its gates can end a job: nothing after them swallows the exit code.
func TestWorkflow(t *testing.T) {
	text, err := os.ReadFile("../../docs/ci/benchctl.yml")
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		On   []string
		Jobs map[string]struct {
			RunsOn any `yaml:"runs-on"`
			Steps  []struct {
				Uses, Run, If string
				ContinueOn    bool `yaml:"continue-on-error"`
			}
		}
	}
	if err := yaml.Unmarshal(text, &workflow); err != nil {
		t.Fatal(err)
	}
	if len(workflow.On) == 0 || len(workflow.Jobs) != 2 {
		t.Fatalf("got %+v", workflow)
	}
	var seen []string
	for name, job := range workflow.Jobs {
		if job.RunsOn == nil {
			t.Errorf("%s: no runner", name)
		}
		for _, step := range job.Steps {
			if (step.Uses == "") == (step.Run == "") || step.ContinueOn {
				t.Errorf("%s: got %+v, want a step that runs or uses something", name, step)
			}
			line, ok := strings.CutPrefix(step.Run, "./bin/benchctl ")
			if !ok {
				continue
			}
			line, _, _ = strings.Cut(line, " >> ")
			if strings.ContainsAny(line, "|;&") {
				t.Errorf("%s: got %q, want a command whose exit code is the step's", name, line)
			}
			root := newRoot(Env{Getenv: func(string) string { return "" }})
			command, rest, err := root.Find(strings.Fields(line))
			if err != nil || command == root {
				t.Errorf("%s: %q: no such command: %v", name, line, err)
				continue
			}
			if err := command.ParseFlags(rest); err != nil {
				t.Errorf("%s: %q: %v", name, line, err)
			}
			seen = append(seen, command.Name())
		}
	}
	for _, gate := range []string{"check", "compare", "run"} {
		if !slices.Contains(seen, gate) {
			t.Errorf("no step runs %s", gate)
		}
	}
}
