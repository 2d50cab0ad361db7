package suite

import (
	"fmt"
	"strings"

	"github.com/localbench/localbench/core"
)

// FuseNone and the constants that follow say which work of normalisations convolutions do.
const (
	FuseNone       = "none"
	FuseInput      = "input"      // they normalise their input while they read it
	FuseStatistics = "statistics" // they compute the statistics of their results
	FuseGradient   = "gradient"   // their backward pass computes the gradient of their results while it reads
	FuseAll        = "all"        // all of this
)

// fusions are the values of --fuse-norm.
var fusions = []struct {
	name string
	set  core.FuseNorm
}{
	{FuseNone, 0}, {FuseInput, core.FuseNormInput}, {FuseStatistics, core.FuseNormStatistics},
	{FuseGradient, core.FuseNormGradient}, {FuseAll, core.FuseNormAll},
}

// FuseNames lists what Request.FuseNorm may be.
func FuseNames() (names []string) {
	for _, f := range fusions {
		names = append(names, f.name)
	}
	return names
}

// fuseNorm reads results.Settings.FuseNorm.
func fuseNorm(name string) (core.FuseNorm, error) {
	if name == "" {
		return 0, nil
	}
	for _, f := range fusions {
		if f.name == name {
			return f.set, nil
		}
	}
	return 0, fmt.Errorf("--fuse-norm %q: must be %s", name, strings.Join(FuseNames(), " or "))
}
