package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/localbench/localbench/cli"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/suite"
)

// shared are the flags of every command that expands a request into runs.
type shared struct {
	request suite.Request
	config  string
	output  *output
}

// addShared defines the flags that describe runs.
// tables are the IDs of the tables that the command prints.
func addShared(c *cobra.Command, tables ...string) *shared {
	s := &shared{request: suite.Defaults()}
	r, f := &s.request, c.Flags()
	f.SortFlags = false
	ways, nets, sets := suite.Names()
	some := func(names []string) string { return "comma separated, of " + strings.Join(names, ", ") }
	cli.Define(f, "methods", "names", strings.Join(r.Methods, ","), "training methods, "+some(ways), cli.Words(&r.Methods))
	cli.Define(f, "networks", "names", strings.Join(r.Networks, ","),
		"networks, "+some(nets)+", or PATH.pt2, a file of torch.export (docs/your-own-network.md)", cli.Words(&r.Networks))
	cli.Define(f, "datasets", "names", strings.Join(r.Datasets, ","),
		"data sets, "+some(sets)+", or folder:PATH with train/ and val/, each with a folder of images for every class",
		cli.Words(&r.Datasets))
	cli.Define(f, "image-size", "pixels", "",
		"side of the images, for imagenet, folder:PATH and synthetic (default: 224, and 32 for synthetic)",
		cli.One(&r.ImageSize, cli.Number(1, math.MaxInt32)))
	cli.Define(f, "batch", "samples", "",
		"samples per step, comma separated (default: the data set's recipe)", cli.List(&r.Batches, batch))
	cli.Define(f, "aux-depths", "units", "2",
		"depth of AugLocal's auxiliary networks in units (d), comma separated", cli.List(&r.AuxDepths, cli.Number(1, math.MaxInt32)))
	cli.Define(f, "modules", "count", "0",
		"number of local modules (K), comma separated; 0: one per unit", cli.List(&r.Modules, cli.Number(0, math.MaxInt32)))
	addDevice(f, r)
	addOptimizer(f, r)
	cli.Define(f, "selection", "name", "uniform",
		"selection of the units that AugLocal's auxiliary networks copy: uniform, sequential or repetitive", cli.Word(&r.Selection))
	cli.Define(f, "pyramid-coefficient", "fraction", "0.5",
		"how fast the depth of AugLocal's auxiliary networks decreases, in (0, 1]",
		cli.One(&r.PyramidCoefficient, cli.Within(math.SmallestNonzeroFloat64, 1, "greater than 0 and at most 1")))
	f.BoolVar(&r.NoPyramid, "no-pyramid", false, "give all of AugLocal's auxiliary networks the full depth")
	cli.Define(f, "cuts", "rule", "published",
		"where local modules end: published, balanced (the same memory), even, first (one of the first K-1 units each), or places, "+
			"which benchctl describe lists, such as 1.2,2.1,3.0 or the module paths layer1.1,layer3.0 of a .pt2 file", cli.Word(&r.Cuts))
	cli.Define(f, "infopro-mode", "name", "softmax", "InfoPro's classification loss: softmax or contrast", cli.Word(&r.Mode))
	cli.Define(f, "infopro-coefficients", "weights", "",
		"loss weights of InfoPro: a preset such as cifar10-resnet110-contrast-4, or a1,b1,a2,b2 (default: the published preset)",
		cli.Word(&r.Coefficients))
	cli.Define(f, "segment", "units", "0",
		"units per recomputed segment of checkpoint; 0: about the square root of their number",
		cli.One(&r.Segment, cli.Number(0, math.MaxInt32)))
	cli.Define(f, "dropout", "name", "on",
		"dropout and stochastic depth in training, of networks that have them (vgg for large images, mobilenetv2, efficientnetb0): "+
			"on or off", cli.Word(&r.Dropout))
	cli.Define(f, "recompute", "name", "none",
		"none, or norm: recompute the outputs of normalisations in the backward pass; less memory, bitwise equal results (on a "+
			"GPU with --deterministic)",
		cli.Word(&r.Recompute))
	addStorage(f, r)
	cli.Define(f, "budget", "size", "",
		"limit of the arena, the memory that a run allocates, such as 512MiB: as few activations as necessary are recomputed in the "+
			"backward pass; bitwise equal results (on a GPU with --deterministic)", cli.One(&r.Budget, cli.Size))
	cli.Define(f, "update", "name", "early",
		"early: update parameters as soon as their gradients are complete; deferred: keep all gradients until one update at the end "+
			"of the step, as eager frameworks do", cli.Word(&r.Update))
	cli.Define(f, "eager", "options", "",
		"options of the program that the eager model predicts, comma separated, where they differ from PyTorch's defaults: "+
			"set_to_none=false, foreach=false, fused=true (sgd, adam, adamw), reentrant=true (checkpoint), zero_grad=mid (between "+
			"forward and backward pass), images=1 or 2 (copies of the batch), batches=new (a new batch each step, beside the one "+
			"before), workspaces=cudnn (of convolutions)", cli.Word(&r.Eager))
	cli.Define(f, "quirks", "name", "none",
		"none, or paper (paper compatibility mode): as the published programs: stl10 with 100 classes, batch 128 and rate 0.1; "+
			"imagenet without AugLocal's pyramid and with all its auxiliary networks; MAN's and AugLocal's cuts and MAN's losses; "+
			"gradients kept until one update", cli.Word(&r.Quirks))
	cli.Define(f, "overlap", "modules", "1",
		"local modules in flight: from 2 on, a module's auxiliary network, backward pass and update overlap the forward pass of the "+
			"next modules; with --backend cuda, or to plan",
		cli.One(&r.Overlap, cli.Number(1, graph.MaxStreams)))
	cli.Define(f, "workspace-limit", "size", "",
		"limit of a kernel's workspace, such as 256KiB or 1MiB: kernels that need more are not used",
		cli.One(&r.WorkspaceLimit, cli.Size))
	f.BoolVar(&r.Deterministic, "deterministic", false, "on a GPU: use only kernels with bitwise reproducible results")
	cli.Define(f, cli.ConfigFlag, "file", "",
		"YAML file with flags by name; flags on the command line take precedence", cli.Word(&s.config))
	s.output = addOutput(f, tables...)
	return s
}

// addOptimizer defines the flags of the optimizer that decide about its memory.
func addOptimizer(f *pflag.FlagSet, r *suite.Request) {
	cli.Define(f, "optimizer", "name", suite.OptimizerSGD, strings.Join(suite.OptimizerNames(), ", "),
		cli.Word(&r.Optimizer))
	cli.Define(f, "momentum", "fraction", "",
		"momentum, for sgd (default: 0.9, Nesterov) and rmsprop (default: 0); with 0 there is no state for it",
		cli.Optional(&r.Momentum, cli.Real))
	cli.Define(f, "weight-decay", "rate", "",
		"weight decay (default: 1e-4 for sgd, 1e-2 for adamw, where it is decoupled from the gradient, 0 for others)",
		cli.Optional(&r.WeightDecay, cli.Real))
}

// oneNetwork is the check of the arguments of a command that takes a network, short for --networks.
func oneNetwork(c *cobra.Command, args []string) error {
	if len(args) > 1 {
		return noArguments(c, args[1:])
	}
	return nil
}

// setNetwork sets --networks to the argument of oneNetwork, if there is one.
func setNetwork(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case c.Flags().Changed("networks"):
		return usage(fmt.Errorf("--networks and the argument %q: give one of them", args[0]))
	}
	return usage(c.Flags().Set("networks", args[0]))
}

// addStorage defines the flags for how the step stores activations.
func addStorage(f *pflag.FlagSet, r *suite.Request) {
	cli.Define(f, "store", "format", "f32",
		"how activations are stored from the forward to the backward pass: f32 (as they are), bf16, int8 or int4; the forward "+
			"pass stays "+
			"exact, gradients get an error without bias (int8, int4) and a ReLU's mask takes one bit", cli.Word(&r.Store))
	cli.Define(f, "fuse-norm", "name", "none",
		"work of normalisations that convolutions do: none; input: they normalise their input while they read it, and normalised "+
			"tensors that only they read do not exist, which takes less memory; statistics: they compute the statistics of their "+
			"results; gradient: their backward pass computes the gradient of their results while it reads what the normalisation's "+
			"would compute it from; or all; equal results within rounding", cli.Word(&r.FuseNorm))
}

// addDevice defines the flags of the device and its precision.
func addDevice(f *pflag.FlagSet, r *suite.Request) {
	cli.Define(f, "precision", "name", r.Precision,
		"f32; bf16: activations and their gradients in bf16, weights in f32; tf32: f32 with the inputs of products rounded to tf32",
		cli.Word(&r.Precision))
	cli.Define(f, "backend", "name", r.Backend, "cpu, cuda, reference, or auto: cpu", cli.Word(&r.Backend))
	cli.Define(f, "device", "number", "0", "index of the backend's device, from 0", cli.One(&r.Device, cli.Number(0, math.MaxInt32)))
	cli.Define(f, "threads", "count", "0",
		"threads of the cpu backend; 0: all cores", cli.One(&r.Threads, cli.Number(0, math.MaxInt32)))
}

// addSamples defines the flags for the number of samples of a run, which determines the size of its last batches.
func addSamples(c *cobra.Command, r *suite.Request) {
	f := c.Flags()
	cli.Define(f, "train-limit", "samples", "0",
		"number of training samples, the first ones of the set; 0: all", cli.One(&r.TrainLimit, cli.Number(0, math.MaxInt32)))
	cli.Define(f, "test-limit", "samples", "0",
		"number of test samples, the first ones of the set; 0: all", cli.One(&r.TestLimit, cli.Number(0, math.MaxInt32)))
	cli.Define(f, "val-fraction", "fraction", "0",
		"fraction of the training set held out for validation, the same for every seed: the test accuracy of the epoch with the "+
			"best validation accuracy is reported too", cli.One(&r.ValFraction, cli.Real))
}

// addTraining defines the flags that only matter to a run that trains.
func addTraining(c *cobra.Command, r *suite.Request) {
	f := c.Flags()
	cli.Define(f, "seeds", cli.CountOrList, "1",
		"3: the seeds 1 to 3; 1,2,5: these seeds; 5,: the seed 5", cli.Seeds(&r.Seeds, maxSeeds))
	cli.Define(f, "epochs", "count", "",
		"passes over the training set (default: the data set's recipe)", cli.One(&r.Epochs, cli.Number(1, math.MaxInt32)))
	cli.Define(f, "lr", "rate", "",
		"peak learning rate (linear warm-up, then cosine decay) (default: the data set's recipe for sgd; PyTorch's for others: "+
			"1e-3 for adam and adamw, 1e-2 for rmsprop and adagrad)", cli.Optional(&r.LearningRate, cli.Real))
	cli.Define(f, "warmup-epochs", "count", "",
		"epochs, the first of --epochs, in which the learning rate rises linearly from 0.01 to its peak (default: the data set's "+
			"recipe)",
		cli.Optional(&r.WarmupEpochs, cli.Number(0, math.MaxInt32)))
	cli.Define(f, "betas", "fractions", "",
		"decay of the averages of gradients and of their squares, for adam and adamw (default: 0.9,0.999)",
		cli.List(&r.Betas, cli.Real))
	cli.Define(f, "eps", "number", "",
		"added to the root that the step is divided by, for adam, adamw, rmsprop and adagrad (default: 1e-8, and 1e-10 for adagrad)",
		cli.Optional(&r.Epsilon, cli.Real))
	cli.Define(f, "rmsprop-alpha", "fraction", "",
		"decay of the average of squares, for rmsprop (default: 0.99)", cli.Optional(&r.Alpha, cli.Real))
	f.BoolVar(&r.NoAugment, "no-augment", false, "train without data augmentation")
}

// expand turns flags and configuration into a checked request, and looks up the
// format of the results.
func (s *shared) expand(c *cobra.Command) (suite.Request, *output, error) {
	if s.config != "" {
		apart, err := cli.ReadConfig(c, s.config, sweepKeys()...)
		if err != nil {
			return s.request, nil, usage(err)
		}
		if err := checkFlags(c); err != nil {
			return s.request, nil, err
		}
		if len(apart) > 0 {
			if s.request, err = requestsOf(c, s.config, apart); err != nil {
				return s.request, nil, usage(err)
			}
		}
	}
	return s.request, s.output, s.output.open()
}

// maxSeeds bounds a count of seeds, so that a typing error is not a sweep of years.
const maxSeeds = 1000

// batch parses a number of samples.
func batch(s string) (int64, error) {
	n, err := cli.Number(1, math.MaxInt32)(s)
	return int64(n), err
}
