package suite

import (
	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/results"
)

// Compile builds the run of a spec and compiles it on a device that is opened for it.
func Compile(spec results.Spec) (*Compiled, error) {
	r, err := Build(spec)
	if err != nil {
		return nil, err
	}
	return r.CompileHere(Host{})
}

// CompileOn builds the run of a spec and compiles it on a device.
func CompileOn(d engine.Device, spec results.Spec) (*Compiled, error) {
	r, err := Build(spec)
	if err != nil {
		return nil, err
	}
	return r.Compile(d, JobOptions{})
}
