package suite

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/results"
)

var updateIDs = flag.Bool("update-ids", false, "rewrite testdata/ids.golden; an id may change only with the schema of records")

// idRequests is a grid of requests that sets every option that is stored in a spec, alone and with the others that it acts on.
func idRequests(t *testing.T) []Request {
	init := filepath.Join(t.TempDir(), "weights")
	if err := os.WriteFile(init, []byte("weights"), 0o644); err != nil {
		t.Fatal(err)
	}
	every := []string{"bp", "checkpoint", "dgl", "predsim", "infopro", "man", "auglocal"}
	request := func(set ...func(*Request)) Request {
		r := Request{Methods: every, Networks: []string{"resnet20"}, Datasets: []string{"synthetic", "cifar10"},
			Batches: []int64{8, 64}}
		for _, f := range set {
			f(&r)
		}
		return r
	}
	methods := func(names ...string) func(*Request) { return func(r *Request) { r.Methods = names } }
	networks := func(names ...string) func(*Request) { return func(r *Request) { r.Networks = names } }
	datasets := func(names ...string) func(*Request) { return func(r *Request) { r.Datasets = names } }
	quirks := func(r *Request) { r.Quirks = QuirksPaper }
	modules := func(k ...int) func(*Request) { return func(r *Request) { r.Modules = k } }
	return []Request{
		{},
		request(),
		request(modules(0, 4, 6), func(r *Request) { r.AuxDepths, r.Seeds = []int{1, 2}, []uint64{1, 2} }),
		request(quirks, modules(0, 4)),
		request(networks("resnet110", "vgg13"), quirks, modules(0, 3, 4)),
		request(networks("resnet50"), datasets("imagenet"), quirks),
		request(methods("dgl", "predsim", "infopro", "man"), modules(2), func(r *Request) { r.Cuts = "even" }),
		request(methods("dgl", "infopro"), modules(4), func(r *Request) { r.Cuts = "published" }),
		request(methods("dgl"), modules(4), quirks, func(r *Request) { r.Cuts = "published" }),
		request(methods("infopro"), modules(2), func(r *Request) { r.Mode = "contrast" }),
		request(methods("infopro"), modules(2), func(r *Request) { r.Mode = "softmax" }),
		request(methods("infopro"), modules(2), func(r *Request) { r.Coefficients = "5,1,1,0" }),
		request(networks("resnet110"), methods("infopro"), datasets("cifar10"), modules(4), func(r *Request) { r.Mode = "contrast" }),
		request(networks("resnet110"), methods("infopro"), datasets("cifar10"), modules(2),
			func(r *Request) { r.Coefficients = "cifar10-resnet110-contrast-4" }),
		request(func(r *Request) { r.Segment = 3 }),
		request(func(r *Request) { r.Recompute = "norm" }),
		request(func(r *Request) { r.Recompute = "none" }),
		request(func(r *Request) { r.Update = "deferred" }),
		request(func(r *Request) { r.Update = "early" }),
		request(quirks, func(r *Request) { r.Update = "early" }),
		request(func(r *Request) { r.Budget = 1 << 33 }),
		request(methods("auglocal", "dgl"), func(r *Request) { r.Overlap = 2 }),
		request(func(r *Request) { r.Overlap = 1 }),
		request(func(r *Request) { r.WorkspaceLimit = 1 << 20 }),
		request(func(r *Request) { r.Eager = "foreach=false,reentrant=true" }),
		request(func(r *Request) { r.Eager = "zero_grad=mid, images=2" }),
		request(func(r *Request) { r.Backend, r.Deterministic = "cuda", true }),
		request(func(r *Request) { r.Backend, r.Precision, r.Device = "cuda", "bf16", 1 }),
		request(func(r *Request) { r.Init = init }),
		request(networks("mobilenetv2"), datasets("imagenet"), methods("bp"), func(r *Request) { r.Dropout = "off" }),
		request(func(r *Request) {
			r.Backend, r.Recompute, r.Update, r.Budget = "cuda", "norm", "deferred", 1<<34
			r.WorkspaceLimit, r.Eager, r.Segment, r.Init, r.Deterministic = 7, "set_to_none=false", 2, init, true
		}),
	}
}

// Ids outlive releases: the specs of a grid of requests have the ids and the stored options that they had when the golden was
// written.
func TestSpecIDsStay(t *testing.T) {
	var got strings.Builder
	for i, r := range idRequests(t) {
		runs, err := r.Build()
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		for _, run := range runs {
			s := run.Spec
			fmt.Fprintf(&got, "%d %s", i, results.SpecID(s))
			for _, key := range slices.Sorted(maps.Keys(s.Options)) {
				fmt.Fprintf(&got, " %s=%s", key, s.Options[key])
			}
			got.WriteByte('\n')
			if settings, err := s.Settings(); err != nil || results.SpecID(s.WithSettings(settings)) != results.SpecID(s) {
				t.Errorf("%s: %v: another id after reading its settings: %v", results.SpecID(s), s.Options, err)
			}
		}
	}
	golden := filepath.Join("testdata", "ids.golden")
	if *updateIDs {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() == string(want) {
		return
	}
	old, now := strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")
	for i := range min(len(old), len(now)) {
		if old[i] != now[i] {
			t.Fatalf("line %d: got %s, want %s", i+1, now[i], old[i])
		}
	}
	t.Fatalf("got %d lines, want %d", len(now), len(old))
}
