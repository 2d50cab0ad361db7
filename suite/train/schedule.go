package train

import "math"

// Schedule is the learning rate by epoch: a cosine from Base to zero, with a
// linear warm-up that starts at WarmupStart.
type Schedule struct {
	Base   float64 // the recipe's lr
	Epochs int
	Warmup int // epochs; 0 for none
	// FromZero counts the epochs of the cosine from 0, so that the first one has Base itself.
	FromZero bool
}

// WarmupStart is the learning rate that the warm-up begins at.
const WarmupStart = 0.01

// LearningRate returns the rate of epoch e in 1..Epochs:
//
//	cosine(e) = Base/2 * (1 + cos(pi*e/Epochs))
//	e <= Warmup:  cosine(e)*(e-1)/Warmup + WarmupStart*(Warmup+1-e)/Warmup
//
// as in the programs of InfoPro and AugLocal for small images, where Warmup is 10. Those for
// ImageNet have no warm-up and cosine(e-1): FromZero.
func (s Schedule) LearningRate(e int) float64 {
	at := float64(e)
	if s.FromZero {
		at--
	}
	cosine := s.Base / 2 * (1 + math.Cos(math.Pi*at/float64(s.Epochs)))
	if e > s.Warmup {
		return cosine
	}
	w := float64(s.Warmup)
	return cosine*float64(e-1)/w + WarmupStart*(w+1-float64(e))/w
}
