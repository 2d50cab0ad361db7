package suite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/localbench/localbench/core"
	"github.com/localbench/localbench/core/eager"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/methods"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/results/peaks"
	"github.com/localbench/localbench/suite/networks/exported"
)

// Validator predicts measured runs from exported networks. It reads each network once.
type Validator struct {
	Folder string // of networks, as NETWORK_SIDE.pt2
	// Usable is the part of a GPU's memory that the allocator can get, in (0, 1]. The rest is of the driver, of CUDA's context and
	// of libraries, and of other programs.
	Usable float64
	stages map[string][]model.Stage // by file, size and classes
}

// MeasuredPrediction is what the eager model says of a measured run.
type MeasuredPrediction struct {
	ReservedBytes int64 // the most that the caching allocator reserves, without a constant for the context
	OutOfMemory   bool  // it needs more than the GPU has; false where its memory is not known
}

// Predict predicts one run: `plan --policy eager` of the network under bp, with those options of the eager model that
// describe the program: see options.
func (v *Validator) Predict(r peaks.Row) (p MeasuredPrediction, err error) {
	g, err := v.program(r)
	if err != nil {
		return p, err
	}
	said := eager.Predict(g, v.options(r))
	return MeasuredPrediction{ReservedBytes: said.ReservedBytes, OutOfMemory: said.OutOfMemory}, nil
}

// program is the training step of a row, written op by op.
func (v *Validator) program(r peaks.Row) (*graph.Graph, error) {
	stages, err := v.network(r)
	if err != nil {
		return nil, err
	}
	optimizer, err := findOptimizer(strings.ToLower(r.Optimizer))
	if err != nil {
		return nil, err
	}
	step, err := core.TrainingStep(stages, core.StepOptions{Batch: r.Batch, Image: graph.Shape{r.Side, r.Side, r.Channels},
		Deviation: [4]float64{1, 1, 1, 1}, Dropout: true, Eager: true, Unverified: true, Optimizer: optimizer.of(results.Spec{})})
	if err != nil {
		return nil, err
	}
	return step.Graph, nil
}

// options are those of the program that a row describes. A file that does not say when gradients are dropped is taken to mean
// before the backward pass.
func (v *Validator) options(r peaks.Row) eager.Options {
	o := eager.Options{NewBatch: true, Workspaces: true,
		ZeroMid:    r.ZeroGrad == peaks.ZeroGradMiddle || r.ZeroGrad == peaks.ZeroGradNotGiven,
		LimitBytes: int64(v.Usable * float64(r.CapacityBytes))}
	if bytes, ok := eager.BLASWorkspace(r.GPU); ok {
		o.BLASBytes = bytes / eager.BLASHandles
	}
	return o
}

// network is the network of a row under bp.
func (v *Validator) network(r peaks.Row) ([]model.Stage, error) {
	path, err := v.file(r)
	if err != nil {
		return nil, err
	}
	key := fmt.Sprintf("%s %d %d %d", path, r.Side, r.Channels, r.Classes)
	if stages, ok := v.stages[key]; ok {
		return stages, nil
	}
	n, err := exported.New(path, graph.Shape{r.Side, r.Side, r.Channels}, r.Classes)
	if err != nil {
		return nil, err
	}
	bp, err := methods.Find("bp")
	if err != nil {
		return nil, err
	}
	stages, err := bp.Stages(n, methods.Options{})
	if err != nil {
		return nil, err
	}
	if v.stages == nil {
		v.stages = map[string][]model.Stage{}
	}
	v.stages[key] = stages
	return stages, nil
}

// file is the exported network of a row: that of its name in the folder, whatever letters are capital and with or without
// underscores. A file may add digits, as mnasnet1_0 does, if no other does.
func (v *Validator) file(r peaks.Row) (string, error) {
	suffix := fmt.Sprintf("_%d%s", r.Side, exported.Suffix)
	paths, err := filepath.Glob(filepath.Join(escapeGlob(v.Folder), "*"+suffix))
	if err != nil {
		return "", err
	}
	var longer []string
	want := letters(r.Network)
	for _, path := range paths {
		name := letters(strings.TrimSuffix(filepath.Base(path), suffix))
		rest, ok := strings.CutPrefix(name, want)
		switch {
		case !ok:
		case rest == "":
			return path, nil
		case strings.Trim(rest, "0123456789") == "":
			longer = append(longer, path)
		}
	}
	if len(longer) == 1 {
		return longer[0], nil
	}
	if _, err := os.Stat(v.Folder); err != nil {
		return "", err
	}
	return "", &NoNetworkError{errors.New(v.Folder + " has no file NETWORK" + suffix + " of the network " + r.Network)}
}

// NoNetworkError says that the network of a row is not in the folder.
type NoNetworkError struct{ error }

// letters are the letters and digits of a name, in lower case.
func letters(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(name))
}

// escapeGlob is a path for which filepath.Glob finds the path itself.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}
