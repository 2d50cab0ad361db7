package suite_test

import (
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// TestDropoutInTheSpec: the word stands where something is dropped, and nowhere else, so that the ids
// of all other runs stay what they were; and the step follows the spec. A spec without the word, as of a
// record from before there was dropout, drops nothing.
func TestDropoutInTheSpec(t *testing.T) {
	d, err := engine.Open("null", engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		network, dataset string
		drops            bool
	}{
		{"resnet20", "cifar10", false}, {"regnetx400mf", "cifar10", false}, {"vgg11", "cifar10", false},
		{"vgg11", "imagenet", true}, {"mobilenetv2", "cifar10", true}, {"efficientnetb0", "imagenet", true},
	} {
		ids := map[string]string{}
		for _, asked := range []string{"", suite.DropoutOn, suite.DropoutOff} {
			specs, err := suite.Request{Methods: []string{"bp"}, Networks: []string{c.network}, Datasets: []string{c.dataset},
				Batches: []int64{2}, Dropout: asked}.Expand()
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			if c.drops && asked != suite.DropoutOff {
				want = "on"
			}
			if got := specs[0].Dropout; got != want {
				t.Errorf("%s on %s, dropout %q: the spec says %q, want %q", c.network, c.dataset, asked, got, want)
			}
			ids[asked] = results.SpecID(specs[0])
			compiled, err := suite.CompileOn(d, specs[0])
			if err != nil {
				t.Fatal(err)
			}
			if got := compiled.Step.Stream != nil; got != (want == "on") {
				t.Errorf("%s on %s, dropout %q: the step drops: %v", c.network, c.dataset, asked, got)
			}
		}
		if ids[""] != ids[suite.DropoutOn] || (ids[suite.DropoutOn] != ids[suite.DropoutOff]) != c.drops {
			t.Errorf("%s on %s: ids %v, want two if, and only if, it can drop", c.network, c.dataset, ids)
		}
	}
	_, err = suite.Request{Dropout: "0.5"}.Expand()
	if err == nil || !strings.Contains(err.Error(), `--dropout "0.5": must be on or off`) {
		t.Errorf("got %v", err)
	}
}
