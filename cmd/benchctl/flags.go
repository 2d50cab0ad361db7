package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/suite"
)

// shared are the flags of every command that expands a request into runs.
type shared struct {
	request suite.Request
	config  string
	output  *output
}

// flagValue is a flag whose text goes to one function.
type flagValue struct {
	kind, text string
	set        func(string) error
}

// Set implements pflag.Value.
func (v *flagValue) Set(s string) error {
	if err := v.set(s); err != nil {
		return err
	}
	v.text = s
	return nil
}

// String implements pflag.Value: the text as the user gave it, else the default.
func (v *flagValue) String() string { return v.text }

// Type implements pflag.Value: the word in the help.
func (v *flagValue) Type() string { return v.kind }

func define(f *pflag.FlagSet, name, kind, def, help string, set func(string) error) {
	f.Var(&flagValue{kind, def, set}, name, help)
}

// addShared defines the flags that describe runs.
// tables are the IDs of the tables that the command prints.
func addShared(c *cobra.Command, tables ...string) *shared {
	s := &shared{request: suite.Defaults()}
	r, f := &s.request, c.Flags()
	f.SortFlags = false
	ways, nets, sets := suite.Names()
	some := func(names []string) string { return "comma separated, of " + strings.Join(names, ", ") }
	define(f, "methods", "names", strings.Join(r.Methods, ","), "ways of training, "+some(ways), words(&r.Methods))
	define(f, "networks", "names", strings.Join(r.Networks, ","), "networks, "+some(nets)+", or PATH.pt2, a file of torch.export (docs/your-own-network.md)", words(&r.Networks))
	define(f, "datasets", "names", strings.Join(r.Datasets, ","), "data sets, "+some(sets)+", or folder:PATH with train/ and val/, each with a folder of images for every class", words(&r.Datasets))
	define(f, "batch", "samples", "", "samples a step, comma separated (default: the data set's recipe)", list(&r.Batches, batch))
	define(f, "aux-depths", "units", "2", "units of AugLocal's auxiliary networks (d), comma separated", list(&r.AuxDepths, number(1, math.MaxInt32)))
	define(f, "modules", "count", "0", "local modules (K), comma separated; 0: one a unit", list(&r.Modules, number(0, math.MaxInt32)))
	addDevice(f, r)
	define(f, "selection", "name", "uniform", "which units AugLocal's auxiliary networks copy", word(&r.Selection))
	define(f, "pyramid-coefficient", "fraction", "0.5", "how fast AugLocal's auxiliary depth falls, in (0, 1]", one(&r.PyramidCoefficient, within(math.SmallestNonzeroFloat64, 1, "more than 0 and at most 1")))
	f.BoolVar(&r.NoPyramid, "no-pyramid", false, "give every auxiliary network the full depth")
	define(f, "cuts", "rule", "published", "where modules end, for dgl, predsim, infopro and man: published, balanced, even, first (one of the first K-1 units each), or places such as 1.2,2.1,3.0", word(&r.Cuts))
	define(f, "infopro-mode", "name", "softmax", "InfoPro's classification loss: softmax or contrast", word(&r.Mode))
	define(f, "infopro-coefficients", "weights", "", "InfoPro's: a preset such as cifar10-resnet110-contrast-4, or a1,b1,a2,b2 (default: the published ones)", word(&r.Coefficients))
	define(f, "segment", "units", "0", "units that checkpoint recomputes together; 0: about the root of their number", one(&r.Segment, number(0, math.MaxInt32)))
	define(f, "dropout", "name", "on", "dropout and stochastic depth in training, of networks that have them (vgg for large images, mobilenetv2, efficientnetb0): on or off", word(&r.Dropout))
	define(f, "recompute", "name", "none", "norm: the backward pass makes the results of normalisations again; the same bits, less memory", word(&r.Recompute))
	define(f, "budget", "size", "", "recompute activations in the backward pass, as few as it takes for the arena, all that a run allocates, to have at most this size: 512MiB; the same bits", one(&r.Budget, size))
	define(f, "update", "name", "early", "deferred: keep all gradients until one update ends the step, as eager frameworks do", word(&r.Update))
	define(f, "eager", "options", "", "of the program whose memory the eager model predicts, comma separated, where it differs from PyTorch's defaults: set_to_none=false, foreach=false, reentrant=true (checkpoint), zero_grad=mid (between forward and backward pass), images=1 or 2 (copies of the batch)", word(&r.Eager))
	define(f, "quirks", "name", "none", "paper: as the published programs do: stl10 with 100 classes, batch 128 and rate 0.1; imagenet without AugLocal's pyramid and with all its auxiliary networks; MAN's and AugLocal's cuts and MAN's losses; gradients kept until one update", word(&r.Quirks))
	define(f, "overlap", "modules", "1", "local modules in flight: from 2 on, a module's auxiliary network, backward pass and update run beside the forward pass of the next; with --backend cuda, or to plan", one(&r.Overlap, number(1, graph.MaxStreams)))
	define(f, "workspace-limit", "size", "", "choose no kernel that needs more scratch memory: 256KiB, 1MiB", one(&r.WorkspaceLimit, size))
	f.BoolVar(&r.Deterministic, "deterministic", false, "on a GPU: choose only kernels that give the same bits every time")
	define(f, "config", "file", "", "YAML file with flags by name; flags on the command line win", word(&s.config))
	s.output = addOutput(f, tables...)
	return s
}

// addDevice defines the flags that say what computes, and how.
func addDevice(f *pflag.FlagSet, r *suite.Request) {
	define(f, "precision", "name", r.Precision, "f32; bf16: activations and their gradients, with f32 weights; tf32: f32 whose products may be rounded", word(&r.Precision))
	define(f, "backend", "name", r.Backend, "cpu, cuda, reference, or auto: the cpu, for a GPU has to be asked for", word(&r.Backend))
	define(f, "device", "number", "0", "which device of the backend, from 0", one(&r.Device, number(0, math.MaxInt32)))
	define(f, "threads", "count", "0", "threads of the cpu backend; 0: all cores", one(&r.Threads, number(0, math.MaxInt32)))
}

// addSamples defines the flags that say how many samples a run has, and so how large its last batches are.
func addSamples(c *cobra.Command, r *suite.Request) {
	f := c.Flags()
	define(f, "train-limit", "samples", "0", "train on the first samples only; 0: all", one(&r.TrainLimit, number(0, math.MaxInt32)))
	define(f, "test-limit", "samples", "0", "test on the first samples only; 0: all", one(&r.TestLimit, number(0, math.MaxInt32)))
	define(f, "val-fraction", "fraction", "0", "of the training set, held out and the same for every seed: the accuracy of the epoch that is best there is reported, too", one(&r.ValFraction, real))
}

// addTraining defines the flags that only matter to a run that trains.
func addTraining(c *cobra.Command, r *suite.Request) {
	f := c.Flags()
	define(f, "seeds", "count or list", "1", "3: the seeds 1 to 3; 1,2,5: these seeds; 5,: the seed 5", seeds(&r.Seeds))
	define(f, "epochs", "count", "", "passes over the training set (default: the data set's recipe)", one(&r.Epochs, number(1, math.MaxInt32)))
	define(f, "lr", "rate", "", "base learning rate of the cosine over the epochs, to which the recipe's warm-up leads (default: the data set's recipe)", optional(&r.LearningRate))
	define(f, "momentum", "fraction", "", "of SGD (default: the data set's recipe)", optional(&r.Momentum))
	define(f, "weight-decay", "rate", "", "of SGD (default: the data set's recipe)", optional(&r.WeightDecay))
	f.BoolVar(&r.NoAugment, "no-augment", false, "train on the images as they are")
}

// expand turns flags and configuration into a checked request, and looks up the
// format of the results.
func (s *shared) expand(c *cobra.Command) (suite.Request, *output, error) {
	if s.config != "" {
		if err := readConfig(c, s.config); err != nil {
			return s.request, nil, err
		}
		if err := checkExclusive(c); err != nil {
			return s.request, nil, err
		}
	}
	return s.request, s.output, s.output.open()
}

func word(p *string) func(string) error {
	return func(s string) error {
		*p = strings.TrimSpace(s)
		return nil
	}
}

func words(p *[]string) func(string) error {
	return list(p, func(s string) (string, error) { return s, nil })
}

func one[T any](p *T, parse func(string) (T, error)) func(string) error {
	return func(s string) (err error) {
		*p, err = parse(strings.TrimSpace(s))
		return err
	}
}

func optional(p **float64) func(string) error {
	return func(s string) error {
		x, err := real(strings.TrimSpace(s))
		*p = &x
		return err
	}
}

// list parses comma separated entries; the flag replaces the default as a whole.
func list[T any](p *[]T, parse func(string) (T, error)) func(string) error {
	return func(s string) error {
		var all []T
		for _, entry := range strings.Split(s, ",") {
			entry = strings.TrimSpace(entry)
			if entry == "" {
				return fmt.Errorf("got %q, want entries separated by single commas", s)
			}
			x, err := parse(entry)
			if err != nil {
				return err
			}
			all = append(all, x)
		}
		*p = all
		return nil
	}
}

// number parses a whole number of the range.
func number(low, high int) func(string) (int, error) {
	return func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		switch {
		case err != nil || n > high:
			return 0, fmt.Errorf("got %q, want a whole number of %d to %d", s, low, high)
		case n < low:
			return 0, fmt.Errorf("got %d, want %d or more", n, low)
		}
		return n, nil
	}
}

func batch(s string) (int64, error) {
	n, err := number(1, math.MaxInt32)(s)
	return int64(n), err
}

func real(s string) (float64, error) {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, fmt.Errorf("got %q, want a number", s)
	}
	return x, nil
}

// within parses a number of the range, which want puts into words.
func within(low, high float64, want string) func(string) (float64, error) {
	return func(s string) (float64, error) {
		x, err := real(s)
		switch {
		case err != nil:
			return 0, err
		case x < low || x > high:
			return 0, fmt.Errorf("got %g, want %s", x, want)
		}
		return x, nil
	}
}

// maxSeeds bounds a count of seeds, so that a typing error is not a sweep of years.
const maxSeeds = 1000

func seeds(p *[]uint64) func(string) error {
	one := func(s string) (uint64, error) {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("got %q, want a whole number of 0 or more", s)
		}
		return n, nil
	}
	return func(s string) error {
		s = strings.TrimSpace(s)
		if strings.Contains(s, ",") {
			return list(p, one)(strings.TrimSuffix(s, ","))
		}
		count, err := number(1, maxSeeds)(s)
		*p = nil
		for seed := range count {
			*p = append(*p, uint64(seed)+1)
		}
		return err
	}
}

// size parses a number of bytes with its unit.
func size(s string) (int64, error) {
	s = strings.TrimSpace(s)
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > math.MaxInt64 || !strings.HasSuffix(strings.ToLower(s), "b") {
		return 0, fmt.Errorf("got %q, want a size with its unit: 512MiB, 8GiB", s)
	}
	return int64(n), nil
}
