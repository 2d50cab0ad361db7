package suite_test

import (
	"testing"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
)

// TestPaperQuirksOfMethods: with --quirks paper a spec says where its method is that of the published program, and by
// which cuts, head and coefficients. Where the program does what the paper describes the spec is what it was before.
func TestPaperQuirksOfMethods(t *testing.T) {
	for _, c := range []struct {
		method, network, dataset, mode, cuts, coefficients string
		modules                                            int
		program                                            bool
		want                                               map[string]string // besides those named update and mode
	}{
		{method: "auglocal", network: "resnet34", dataset: "imagenet", program: true},
		{method: "auglocal", network: "resnet32", dataset: "cifar10"},
		{method: "auglocal", network: "resnet32", dataset: "cifar10", modules: 16},
		{method: "auglocal", network: "resnet32", dataset: "cifar10", modules: 8, program: true},
		{method: "dgl", network: "vgg13", dataset: "imagenet", program: true},
		{method: "dgl", network: "vgg13", dataset: "cifar10"},
		{method: "dgl", network: "resnet34", dataset: "imagenet"},
		{method: "dgl", network: "resnet32", dataset: "cifar10", modules: 4, want: map[string]string{"cuts": "first"}},
		{method: "dgl", network: "resnet32", dataset: "cifar10", modules: 4, cuts: "published"},
		{method: "predsim", network: "resnet32", dataset: "cifar10", modules: 5, want: map[string]string{"cuts": "first"}},
		{method: "infopro", network: "resnet32", dataset: "cifar10", modules: 4, mode: "contrast",
			want: map[string]string{"head": "1c2f", "coefficients": "cifar10-resnet32-contrast-4"}},
		{method: "infopro", network: "resnet32", dataset: "cifar10", modules: 5,
			want: map[string]string{"cuts": "first", "coefficients": "cifar10-resnet32-softmax-16"}},
		{method: "man", network: "resnet32", dataset: "cifar10", modules: 16, program: true,
			want: map[string]string{"head": "2c2f", "coefficients": "5,0.5,0,0"}},
		{method: "man", network: "resnet32", dataset: "cifar10", modules: 16, coefficients: "1,2,3,4", program: true,
			want: map[string]string{"head": "2c2f", "coefficients": "1,2,3,4"}},
		{method: "man", network: "resnet152", dataset: "imagenet", modules: 4, program: true,
			want: map[string]string{"coefficients": "5,0.75,5,0.75"}},
		{method: "bp", network: "resnet32", dataset: "cifar10"},
	} {
		r := suite.Request{Methods: []string{c.method}, Networks: []string{c.network}, Datasets: []string{c.dataset},
			Batches: []int64{2}, Modules: []int{c.modules}, Quirks: suite.QuirksPaper,
			Settings: results.Settings{Mode: c.mode, Cuts: c.cuts, Coefficients: c.coefficients}}
		got := one(t, r).Options
		delete(got, "update")
		delete(got, "mode")
		if c.program != (got["program"] == "published-program") {
			t.Errorf("%+v: options %v", c, got)
		}
		delete(got, "program")
		if len(got) != len(c.want) {
			t.Errorf("%+v: options %v, want %v", c, got, c.want)
		}
		for key, want := range c.want {
			if got[key] != want {
				t.Errorf("%+v: %s is %q, want %q", c, key, got[key], want)
			}
		}
	}
}

// TestPaperQuirksCompile: the program is what is planned: 15 modules of MAN on ResNet-32, 16 without the quirks, and 16
// auxiliary networks of AugLocal on ResNet-34.
func TestPaperQuirksCompile(t *testing.T) {
	for _, c := range []struct {
		method, network, dataset, quirks string
		modules                          int
		auxiliary                        int64
	}{
		// After the next units, of 16, 32 and 64 channels: the bias, a decoder, and a head of two convolutions and two
		// linear layers.
		{"man", "resnet32", "cifar10", "paper", 15, 461_120 + 4*(2_091+19_466) + 5*(3_819+65_162) + 5*(7_275+83_594)},
		{"man", "resnet32", "cifar10", "none", 16, 1_423_413 - 466_906},
		{"auglocal", "resnet18", "imagenet", "paper", 9, 0},
		{"auglocal", "resnet18", "imagenet", "none", 7, 0},
	} {
		spec := one(t, suite.Request{Methods: []string{c.method}, Networks: []string{c.network}, Datasets: []string{c.dataset},
			Batches: []int64{2}, Quirks: c.quirks})
		compiled, err := suite.Compile(spec)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(compiled.Model.Modules); got != c.modules {
			t.Errorf("%+v: %d modules", c, got)
		}
		// K is the value of --modules that gives the same cuts.
		if got := compiled.ModuleCount(); got != map[string]int{"resnet32": 16, "resnet18": 9}[c.network] {
			t.Errorf("%+v: K is %d", c, got)
		}
		if got := *compiled.Model.AuxiliaryParameters; c.auxiliary != 0 && got != c.auxiliary {
			t.Errorf("%+v: %d auxiliary parameters", c, got)
		}
	}
}

// TestRecordsBeforeHeads: a spec of a contrastive run without a head is of a record from before there was this option,
// when the head had one linear layer; new specs name theirs, so the two have different ids.
func TestRecordsBeforeHeads(t *testing.T) {
	spec := one(t, suite.Request{Methods: []string{"infopro"}, Networks: []string{"resnet32"}, Datasets: []string{"cifar10"},
		Batches: []int64{2}, Modules: []int{4}, Settings: results.Settings{Mode: "contrast"}})
	id := results.SpecID(spec)
	for _, want := range []int64{610_715, 561_179} {
		compiled, err := suite.Compile(spec)
		if err != nil {
			t.Fatal(err)
		}
		if got := *compiled.Model.Parameters + *compiled.Model.AuxiliaryParameters; got != want {
			t.Errorf("options %v: %d parameters, want %d", spec.Options, got, want)
		}
		delete(spec.Options, "head")
	}
	if results.SpecID(spec) == id {
		t.Error("both heads have the same id")
	}
}
