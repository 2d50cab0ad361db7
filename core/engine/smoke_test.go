package engine_test

import (
	"cmp"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/optest"
)

// mostSmoke bounds the cases of a kind and an element type in TestSmoke.
const mostSmoke = 4

// TestSmoke runs a few cases of every family of kinds, the convolutions that have a kernel of our own, and the large cases, on
// the device that is tested last. scripts/gpu-check.sh runs each subtest as a process of its own.
func TestSmoke(t *testing.T) {
	backends := enginetest.Backends()
	backend := backends[len(backends)-1]
	run := func(name string, o engine.Options, cases []optest.Case) {
		t.Run(name, func(t *testing.T) {
			if len(cases) == 0 {
				t.Fatal("there is no case")
			}
			d := enginetest.Open(t, backend, o)
			for _, c := range cases {
				t.Run(c.String(), func(t *testing.T) {
					r, err := newTrial(c)
					if err != nil {
						t.Fatal(err)
					}
					if err := r.on(t, d); err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
	type group struct {
		kind    graph.Kind
		element graph.ElementType
	}
	byGroup, own := map[group][]optest.Case{}, map[group][]optest.Case{}
	for _, c := range optest.Cases() {
		g := group{c.Kind, c.Element}
		if fewChannels(t, c) {
			own[g] = append(own[g], c)
		} else {
			byGroup[g] = append(byGroup[g], c)
		}
	}
	families := map[graph.Family][]optest.Case{}
	for _, k := range graph.Kinds() {
		for _, e := range []graph.ElementType{graph.TypeF32, graph.TypeBF16} {
			cases := byGroup[group{k, e}]
			families[k.Family()] = append(families[k.Family()], cases[:min(len(cases), mostSmoke)]...)
		}
	}
	for _, f := range smokeFamilies() {
		o := ownKernels // a device also runs convolutions when it is opened: no kernel of a library is to hide those of the family
		if f == graph.FamilyConv {
			o = engine.Options{TF32: true}
		}
		run(f.String(), o, families[f])
	}
	var few []optest.Case
	for _, cases := range own {
		few = append(few, cases[:min(len(cases), mostSmoke)]...)
	}
	slices.SortFunc(few, func(a, b optest.Case) int { return cmp.Compare(a.String(), b.String()) })
	run("own", ownKernels, few)
	if !testing.Short() {
		run("large", ownKernels, optest.LargeCases())
	}
}

// smokeFamilies are the families of all kinds, in the order of the kinds.
func smokeFamilies() (list []graph.Family) {
	for _, k := range graph.Kinds() {
		if !slices.Contains(list, k.Family()) {
			list = append(list, k.Family())
		}
	}
	return list
}

// TestSmokeFamilies compares the families that scripts/gpu-check.sh runs with the table of kinds.
func TestSmokeFamilies(t *testing.T) {
	text, err := os.ReadFile("../../scripts/gpu-check.sh")
	if err != nil {
		t.Skip("no scripts/gpu-check.sh here: its list of families was not compared")
	}
	found := regexp.MustCompile(`(?m)^export families="(.*)"$`).FindSubmatch(text)
	if found == nil {
		t.Fatal("gpu-check.sh: got no line `export families=`")
	}
	want := []string{"own", "large"}
	for _, f := range smokeFamilies() {
		want = append(want, f.String())
	}
	got := strings.Fields(string(found[1]))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("gpu-check.sh: got families %q, want %q", got, want)
	}
}
