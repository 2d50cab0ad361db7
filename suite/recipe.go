package suite

import (
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/train"
)

// Recipe is how a data set is trained where the user says nothing else. The
// figures are those of the papers' programs; synthetic's are our own, for runs
// of a few minutes.
type Recipe struct {
	Dataset string
	Batch   int64
	LR      float64 // base learning rate for that batch
	Epochs  int64
	Warmup  int // epochs
	// FromZero is the schedule's: the first epoch has the base learning rate.
	FromZero bool
}

// Constants of stochastic gradient descent in every recipe.
const (
	recipeMomentum    = 0.9
	recipeWeightDecay = 1e-4 // on every parameter
)

// Recipes lists the recipes by data set.
func Recipes() []Recipe {
	return []Recipe{
		{Dataset: "cifar10", Batch: 1024, LR: 0.8, Epochs: 400, Warmup: 10},
		{Dataset: "cifar100", Batch: 1024, LR: 0.8, Epochs: 400, Warmup: 10},
		{Dataset: "svhn", Batch: 1024, LR: 0.8, Epochs: 400, Warmup: 10},
		{Dataset: "stl10", Batch: 128, LR: 0.1, Epochs: 400, Warmup: 10},
		{Dataset: "imagenet", Batch: 1024, LR: 0.4, Epochs: 200, FromZero: true},
		{Dataset: "synthetic", Batch: 128, LR: 0.1, Epochs: 6, Warmup: 1},
	}
}

// recipe returns the recipe of a data set that is in the registry.
func recipe(dataset string) Recipe {
	for _, r := range Recipes() {
		if r.Dataset == dataset {
			return r
		}
	}
	return Recipe{Dataset: dataset, Batch: 128, LR: 0.1, Epochs: 200, FromZero: true}
}

// schedule returns the learning rates of a run: those of the data set's recipe, with the peak and the epochs of the spec.
func schedule(s results.Spec) train.Schedule {
	r := recipe(s.Dataset)
	if s.WarmupEpochs != nil {
		r.Warmup = int(*s.WarmupEpochs)
	}
	return train.Schedule{Base: s.LR, Epochs: int(s.Epochs), Warmup: r.Warmup, FromZero: r.FromZero}
}
