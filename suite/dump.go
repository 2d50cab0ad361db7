package suite

import (
	"bytes"
	"io"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/names"
)

// PassNames lists the names that DumpPass knows, in the order of the passes; a run has those that its settings need.
func PassNames() []string { return core.PassNames() }

// DumpPass writes the program of the training step as text, as it is after the named pass: core.PassNone, or a
// pass that this step has. The device chooses what a run with a budget recomputes. For any other name the error is a
// *names.UnknownError.
func (r *Run) DumpPass(w io.Writer, d engine.Device, pass string) error {
	o, err := r.fittedOptions(d)
	if err != nil {
		return err
	}
	var passes []string
	var text bytes.Buffer
	o.AfterPass = func(name string, g *graph.Graph) {
		if passes = append(passes, name); name == pass {
			text.Reset()
			err = g.Dump(&text)
		}
	}
	if _, writing := core.TrainingStep(r.Stages, o); writing != nil {
		return writing
	}
	if err != nil {
		return err
	}
	if _, err := names.Find("pass", pass, passes, func(s string) string { return s }); err != nil {
		return err
	}
	_, err = text.WriteTo(w)
	return err
}
