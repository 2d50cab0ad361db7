package suite_test

import (
	"strings"
	"testing"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

func one(t *testing.T, r suite.Request) results.Spec {
	t.Helper()
	specs, err := r.Expand()
	if err != nil || len(specs) != 1 {
		t.Fatalf("%d specs, %v", len(specs), err)
	}
	return specs[0]
}

// TestPaperQuirksOfSTL10: the classifier of the network and those of all auxiliary networks have
// 100 classes, which costs 90 rows of weights and as many biases each; batch and learning
// rate are the program's.
func TestPaperQuirksOfSTL10(t *testing.T) {
	const more = 64*90 + 90 // of a linear layer from 64 features
	for method, heads := range map[string][2]int64{"bp": {more, 0}, "auglocal": {more, 13 * more}} {
		r := suite.Request{Methods: []string{method}, Networks: []string{"resnet32"}, Datasets: []string{"stl10"}, Batches: []int64{64}}
		rate := 0.7
		r.LearningRate = &rate
		right := one(t, r)
		r.Quirks = suite.QuirksPaper
		quirky := one(t, r)
		if right.Quirks != "" || right.Batch != 64 || right.LR != 0.7 || quirky.Quirks != "paper" || quirky.Batch != 128 ||
			quirky.LR != 0.1 || quirky.Options["update"] != "deferred" {
			t.Errorf("%s: got %+v and %+v", method, right, quirky)
		}
		right.Batch, right.LR, right.Options = quirky.Batch, quirky.LR, quirky.Options
		a, err := suite.Compile(right)
		if err != nil {
			t.Fatal(err)
		}
		b, err := suite.Compile(quirky)
		if err != nil {
			t.Fatal(err)
		}
		if got := *b.Model.Parameters - *a.Model.Parameters; got != heads[0] {
			t.Errorf("%s: %d parameters more, want %d", method, got, heads[0])
		}
		if got := *b.Model.AuxiliaryParameters - *a.Model.AuxiliaryParameters; got != heads[1] {
			t.Errorf("%s: %d auxiliary parameters more, want %d", method, got, heads[1])
		}
		if *b.Memory.PlannedPeakBytes <= *a.Memory.PlannedPeakBytes {
			t.Errorf("%s: planned peak %d with 100 classes, want more than %d", method, *b.Memory.PlannedPeakBytes,
				*a.Memory.PlannedPeakBytes)
		}
	}
}

// TestPaperQuirks: only ImageNet goes without the pyramid, only where it is asked for; for all
// sets gradients are kept until one update, unless the user says otherwise.
func TestPaperQuirks(t *testing.T) {
	for _, c := range []struct {
		dataset, quirks, update string
		pyramid                 bool
		want                    string
	}{
		{"imagenet", "", "", true, ""}, {"imagenet", "none", "", true, ""}, {"imagenet", "paper", "", false, "deferred"},
		{"cifar10", "paper", "", true, "deferred"}, {"cifar10", "paper", "early", true, ""},
		{"cifar10", "none", "deferred", true, "deferred"},
	} {
		s := one(t, suite.Request{Methods: []string{"auglocal"}, Networks: []string{"resnet32"}, Datasets: []string{c.dataset},
			Batches: []int64{64}, Quirks: c.quirks, Update: c.update})
		if s.Pyramid != c.pyramid || s.Options["update"] != c.want || s.Batch != 64 {
			t.Errorf("%+v: got pyramid %v, options %v, batch %d", c, s.Pyramid, s.Options, s.Batch)
		}
	}
	if _, err := (suite.Request{Quirks: "some"}).Expand(); err == nil ||
		!strings.HasPrefix(err.Error(), `--quirks "some": must be none or paper`) {
		t.Errorf("got %v", err)
	}
	if _, err := (suite.Request{Methods: []string{"auglocal"}, Quirks: "paper", Settings: results.Settings{Overlap: 2},
		Backend: "cuda"}).Expand(); err == nil || !strings.Contains(err.Error(), "--update deferred") {
		t.Errorf("overlap: got %v, want it refused", err)
	}
}

// TestValFraction: the fraction stands in the spec, and makes the training set smaller.
func TestValFraction(t *testing.T) {
	r := suite.Request{Methods: []string{"bp"}, Datasets: []string{"cifar10"}, Batches: []int64{45000}, ValFraction: 0.1}
	if s := one(t, r); s.ValFraction != 0.1 {
		t.Errorf("got %+v", s)
	}
	r.Batches = []int64{45001}
	if _, err := r.Expand(); err == nil || !strings.Contains(err.Error(), "at most the 45000 training samples") {
		t.Errorf("got %v", err)
	}
	for _, f := range []float64{-0.1, 1, 1e-9, 0.999999} {
		r.ValFraction = f
		if _, err := r.Expand(); err == nil || !strings.HasPrefix(err.Error(), "--val-fraction ") {
			t.Errorf("%g: got %v, want it refused", f, err)
		}
	}
}
