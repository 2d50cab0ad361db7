package frontier

import (
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// better is the p-value of the one-sided hypothesis that the mean of a is not above that of b: Welch's t-test (1947), for
// samples of unequal variance. It is 1 where either has fewer than two values. Accuracies over seeds are few, so that a rank
// test, which assumes no distribution, would show nothing: of two samples of three its p-value is never below 0.05.
func better(a, b []float64) float64 {
	if len(a) < 2 || len(b) < 2 {
		return 1
	}
	meanA, varianceA := stat.MeanVariance(a, nil)
	meanB, varianceB := stat.MeanVariance(b, nil)
	errorA, errorB := varianceA/float64(len(a)), varianceB/float64(len(b))
	if errorA+errorB == 0 { // no spread at all
		if meanA > meanB {
			return 0
		}
		return 1
	}
	t := (meanA - meanB) / math.Sqrt(errorA+errorB)
	freedom := (errorA + errorB) * (errorA + errorB) /
		(errorA*errorA/float64(len(a)-1) + errorB*errorB/float64(len(b)-1))
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: freedom}.Survival(t)
}
