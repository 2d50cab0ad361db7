package rank

import (
	"slices"

	"gonum.org/v1/gonum/stat"
)

// Best returns which of several samples are tied for the best: the one with the best mean, and those that are not
// significantly worse. With 95 % confidence the sample from the best distribution is among them (the level is
// divided by the number of the others). A sample of one value is never among them. Nil: there is no evidence, because
// no sample is significantly worse or because the best mean is that of a single value.
func Best(samples [][]float64, less bool) []bool {
	leader := -1
	for i, s := range samples {
		if len(s) > 0 && (leader < 0 || better(stat.Mean(s, nil), stat.Mean(samples[leader], nil), less)) {
			leader = i
		}
	}
	if leader < 0 || len(samples[leader]) < 2 {
		return nil
	}
	var tester Tester
	best := make([]bool, len(samples))
	evidence := false
	for i, s := range samples {
		if len(s) == 0 {
			continue
		}
		worse := tester.Compare(samples[leader], s, Difference, less).Direction(Alpha/float64(len(samples)-1)) > 0
		evidence = evidence || worse && i != leader
		best[i] = i == leader || len(s) > 1 && !worse
	}
	if !evidence {
		return nil
	}
	return best
}

// Front returns which of several samples, in the order of an exact cost, are on the Pareto front with statistical
// evidence: the first one, and each that is significantly better than all before it.
func Front(samples [][]float64, less bool) []bool {
	var tester Tester
	front := make([]bool, len(samples))
	for i, s := range samples {
		front[i] = !slices.ContainsFunc(samples[:i], func(before []float64) bool {
			return tester.Compare(before, s, Difference, less).Direction(Alpha/float64(len(samples)-1)) >= 0
		})
	}
	return front
}

func better(a, b float64, less bool) bool {
	if less {
		return a < b
	}
	return a > b
}
