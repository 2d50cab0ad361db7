package suite

// Recipe is how a data set is trained where the user says nothing else. The
// figures are those of the papers' programs; synthetic's are our own, for runs
// of a few minutes.
type Recipe struct {
	Dataset string
	Batch   int64
	LR      float64 // base learning rate for that batch
	Epochs  int64
	Warmup  int // epochs
}

// Constants of stochastic gradient descent in every recipe.
const (
	recipeMomentum    = 0.9
	recipeWeightDecay = 1e-4 // on every parameter
)

// Recipes lists the recipes by data set.
func Recipes() []Recipe {
	return []Recipe{
		{"cifar10", 1024, 0.8, 400, 10},
		{"svhn", 1024, 0.8, 400, 10},
		{"stl10", 128, 0.1, 400, 10},
		{"synthetic", 128, 0.1, 6, 1},
	}
}

// recipe returns the recipe of a data set that is in the registry.
func recipe(dataset string) Recipe {
	for _, r := range Recipes() {
		if r.Dataset == dataset {
			return r
		}
	}
	return Recipe{Dataset: dataset, Batch: 128, LR: 0.1, Epochs: 200}
}
