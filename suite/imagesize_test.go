package suite_test

import (
	"strings"
	"testing"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

func sizedRequest(dataset string, side int) suite.Request {
	return suite.Request{Methods: []string{"bp"}, Networks: []string{"resnet18"}, Datasets: []string{dataset}, Batches: []int64{4},
		ImageSize: side}
}

// TestImageSizeInSpecs: the size is a field of the spec, left out where it is the data set's own, so that the id stays.
func TestImageSizeInSpecs(t *testing.T) {
	of := func(dataset string, side int) results.Spec {
		specs, err := sizedRequest(dataset, side).Expand()
		if err != nil {
			t.Fatal(err)
		}
		return specs[0]
	}
	for _, c := range []struct {
		dataset   string
		side, own int
	}{{"imagenet", 160, 224}, {"synthetic", 64, 32}} {
		bare, own, other := of(c.dataset, 0), of(c.dataset, c.own), of(c.dataset, c.side)
		if results.SpecID(bare) != results.SpecID(own) || own.ImageSize != 0 {
			t.Errorf("%s: got another id for the data set's own size: %+v", c.dataset, own)
		}
		if results.SpecID(other) == results.SpecID(bare) || other.ImageSize != int64(c.side) {
			t.Errorf("%s: got the same id for another size: %+v", c.dataset, other)
		}
		r, err := suite.Build(other)
		if err != nil || r.Network.Input[0] != int64(c.side) || r.Network.Input[1] != int64(c.side) || r.ID() != results.SpecID(other) {
			t.Errorf("%s: got the input %v and %v, want %d pixels", c.dataset, r.Network.Input, err, c.side)
		}
	}
}

// TestImageSizeChoosesTheStem: below 128 pixels resnet18 has a stem of 3x3, from there on of 7x7; 3*64*(49-9) more parameters.
func TestImageSizeChoosesTheStem(t *testing.T) {
	parameters := func(side int) int64 {
		runs, err := sizedRequest("synthetic", side).Build()
		if err != nil {
			t.Fatal(err)
		}
		c, err := runs[0].CompileHere(suite.Host{})
		if err != nil {
			t.Fatal(err)
		}
		return *c.Model.Parameters
	}
	if small, large := parameters(127), parameters(128); large-small != 3*64*(49-9) {
		t.Errorf("got %d and %d parameters, want 7680 more", small, large)
	}
}

func TestImageSizeRefused(t *testing.T) {
	for _, c := range []struct {
		dataset string
		side    int
		want    string
	}{{"cifar10", 64, "can't be combined: its images are 32x32"}, {"imagenet", -1, "--image-size -1: must be at least 0"},
		{"imagenet", 4000, "--image-size 4000: must be 8 to 1024 for imagenet"}} {
		if _, err := sizedRequest(c.dataset, c.side).Build(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %d: got %v, want %q", c.dataset, c.side, err, c.want)
		}
	}
}
