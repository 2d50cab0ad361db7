package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/printable"
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
	define(f, "methods", "names", strings.Join(r.Methods, ","), "training methods, "+some(ways), words(&r.Methods))
	define(f, "networks", "names", strings.Join(r.Networks, ","), "networks, "+some(nets)+", or PATH.pt2, a file of torch.export (docs/your-own-network.md)", words(&r.Networks))
	define(f, "datasets", "names", strings.Join(r.Datasets, ","), "data sets, "+some(sets)+", or folder:PATH with train/ and val/, each with a folder of images for every class", words(&r.Datasets))
	define(f, "batch", "samples", "", "samples per step, comma separated (default: the data set's recipe)", list(&r.Batches, batch))
	define(f, "aux-depths", "units", "2", "depth of AugLocal's auxiliary networks in units (d), comma separated", list(&r.AuxDepths, number(1, math.MaxInt32)))
	define(f, "modules", "count", "0", "number of local modules (K), comma separated; 0: one per unit", list(&r.Modules, number(0, math.MaxInt32)))
	addDevice(f, r)
	define(f, "selection", "name", "uniform", "selection of the units that AugLocal's auxiliary networks copy: uniform, sequential or repetitive", word(&r.Selection))
	define(f, "pyramid-coefficient", "fraction", "0.5", "how fast the depth of AugLocal's auxiliary networks decreases, in (0, 1]", one(&r.PyramidCoefficient, within(math.SmallestNonzeroFloat64, 1, "greater than 0 and at most 1")))
	f.BoolVar(&r.NoPyramid, "no-pyramid", false, "give all of AugLocal's auxiliary networks the full depth")
	define(f, "cuts", "rule", "published", "where modules end, for dgl, predsim, infopro and man: published, balanced, even, first (one of the first K-1 units each), or places stage.block such as 1.2,2.1,3.0", word(&r.Cuts))
	define(f, "infopro-mode", "name", "softmax", "InfoPro's classification loss: softmax or contrast", word(&r.Mode))
	define(f, "infopro-coefficients", "weights", "", "loss weights of InfoPro: a preset such as cifar10-resnet110-contrast-4, or a1,b1,a2,b2 (default: the published preset)", word(&r.Coefficients))
	define(f, "segment", "units", "0", "units per recomputed segment of checkpoint; 0: about the square root of their number", one(&r.Segment, number(0, math.MaxInt32)))
	define(f, "dropout", "name", "on", "dropout and stochastic depth in training, of networks that have them (vgg for large images, mobilenetv2, efficientnetb0): on or off", word(&r.Dropout))
	define(f, "recompute", "name", "none", "none, or norm: recompute the outputs of normalisations in the backward pass; bitwise equal results, less memory", word(&r.Recompute))
	define(f, "budget", "size", "", "limit of the arena, the memory that a run allocates, such as 512MiB: as few activations as necessary are recomputed in the backward pass; bitwise equal results", one(&r.Budget, size))
	define(f, "update", "name", "early", "early: update parameters as soon as their gradients are complete; deferred: keep all gradients until one update at the end of the step, as eager frameworks do", word(&r.Update))
	define(f, "eager", "options", "", "options of the program that the eager model predicts, comma separated, where they differ from PyTorch's defaults: set_to_none=false, foreach=false, reentrant=true (checkpoint), zero_grad=mid (between forward and backward pass), images=1 or 2 (copies of the batch)", word(&r.Eager))
	define(f, "quirks", "name", "none", "none, or paper (paper compatibility mode): as the published programs: stl10 with 100 classes, batch 128 and rate 0.1; imagenet without AugLocal's pyramid and with all its auxiliary networks; MAN's and AugLocal's cuts and MAN's losses; gradients kept until one update", word(&r.Quirks))
	define(f, "overlap", "modules", "1", "local modules in flight: from 2 on, a module's auxiliary network, backward pass and update overlap the forward pass of the next modules; with --backend cuda, or to plan", one(&r.Overlap, number(1, graph.MaxStreams)))
	define(f, "workspace-limit", "size", "", "limit of a kernel's workspace, such as 256KiB or 1MiB: kernels that need more are not used", one(&r.WorkspaceLimit, size))
	f.BoolVar(&r.Deterministic, "deterministic", false, "on a GPU: use only kernels with bitwise reproducible results")
	define(f, "config", "file", "", "YAML file with flags by name; flags on the command line take precedence", word(&s.config))
	s.output = addOutput(f, tables...)
	return s
}

// addDevice defines the flags of the device and its precision.
func addDevice(f *pflag.FlagSet, r *suite.Request) {
	define(f, "precision", "name", r.Precision, "f32; bf16: activations and their gradients in bf16, weights in f32; tf32: f32 with the inputs of products rounded to tf32", word(&r.Precision))
	define(f, "backend", "name", r.Backend, "cpu, cuda, reference, or auto: cpu", word(&r.Backend))
	define(f, "device", "number", "0", "index of the backend's device, from 0", one(&r.Device, number(0, math.MaxInt32)))
	define(f, "threads", "count", "0", "threads of the cpu backend; 0: all cores", one(&r.Threads, number(0, math.MaxInt32)))
}

// addSamples defines the flags for the number of samples of a run, which determines the size of its last batches.
func addSamples(c *cobra.Command, r *suite.Request) {
	f := c.Flags()
	define(f, "train-limit", "samples", "0", "number of training samples, the first ones of the set; 0: all", one(&r.TrainLimit, number(0, math.MaxInt32)))
	define(f, "test-limit", "samples", "0", "number of test samples, the first ones of the set; 0: all", one(&r.TestLimit, number(0, math.MaxInt32)))
	define(f, "val-fraction", "fraction", "0", "fraction of the training set held out for validation, the same for every seed: the test accuracy of the epoch with the best validation accuracy is reported too", one(&r.ValFraction, real))
}

// addTraining defines the flags that only matter to a run that trains.
func addTraining(c *cobra.Command, r *suite.Request) {
	f := c.Flags()
	define(f, "seeds", "count or list", "1", "3: the seeds 1 to 3; 1,2,5: these seeds; 5,: the seed 5", seeds(&r.Seeds))
	define(f, "epochs", "count", "", "passes over the training set (default: the data set's recipe)", one(&r.Epochs, number(1, math.MaxInt32)))
	define(f, "lr", "rate", "", "peak learning rate (linear warm-up, then cosine decay) (default: the data set's recipe)", optional(&r.LearningRate))
	define(f, "momentum", "fraction", "", "momentum of SGD (default: the data set's recipe)", optional(&r.Momentum))
	define(f, "weight-decay", "rate", "", "weight decay of SGD (default: the data set's recipe)", optional(&r.WeightDecay))
	f.BoolVar(&r.NoAugment, "no-augment", false, "train without data augmentation")
}

// shown is the text of a value in an error: quoted unless it is a plain word.
func shown(s string) string {
	plain := func(r rune) bool {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("+-.,/_", r)
	}
	if s == "" || len(s) > 40 || strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return printable.Quote(s)
	}
	return s
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
				return errors.New("must be entries separated by single commas")
			}
			x, err := parse(entry)
			if err != nil && entry != strings.TrimSpace(s) {
				return fmt.Errorf("entry %s %w", shown(entry), err)
			}
			if err != nil {
				return err
			}
			all = append(all, x)
		}
		*p = all
		return nil
	}
}

// number parses a whole number in the range. Errors of parsers complete the sentence "--flag value: …".
func number(low, high int) func(string) (int, error) {
	return func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		switch {
		case err != nil || n > high:
			return 0, fmt.Errorf("must be a whole number from %d to %d", low, high)
		case n < low:
			return 0, fmt.Errorf("must be at least %d", low)
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
		return 0, errors.New("must be a number")
	}
	return x, nil
}

// within parses a number in the range, which want describes.
func within(low, high float64, want string) func(string) (float64, error) {
	return func(s string) (float64, error) {
		x, err := real(s)
		switch {
		case err != nil:
			return 0, err
		case x < low || x > high:
			return 0, fmt.Errorf("must be %s", want)
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
			return 0, errors.New("must be a whole number of at least 0")
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
		return 0, errors.New("must be a size with its unit, such as 512MiB or 8GiB")
	}
	return int64(n), nil
}
