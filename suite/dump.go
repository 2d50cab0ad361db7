package suite

import (
	"bytes"
	"io"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/names"
	"github.com/localbench/localbench/results"
)

// DumpPass writes the program of the training step of a spec as text, as it is after the named pass: core.PassNone, or a
// pass that this step has. The device chooses what a spec with a budget recomputes. For any other name the error is a
// *names.UnknownError.
func DumpPass(w io.Writer, d engine.Device, spec results.Spec, pass string) error {
	b, err := stagesOf(spec)
	if err != nil {
		return err
	}
	o, err := b.fittedOptions(d, spec)
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
	if _, writing := core.TrainingStep(b.stages, o); writing != nil {
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
