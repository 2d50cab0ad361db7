package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/optest"
	"github.com/localbench/localbench/core/plan"
)

// inStrips is part of the name of a kernel that computes a strip of rows at a time.
const inStrips = "strips of"

// TestParityOfStrips compares with the float64 reference convolutions that normalise their input, compute statistics, or have
// the backward pass of a normalisation, on tensors of several strips, on threads that have several of these and on more threads
// than images.
func TestParityOfStrips(t *testing.T) {
	enginetest.NeedsCPU(t)
	if enginetest.Open(t, "cpu", engine.Options{}).Facts()["isa"] == "default" {
		t.Skip("the processor has no AVX2: none of the kernels that compute strips was tested")
	}
	for _, threads := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(threads, " threads"), func(t *testing.T) {
			d := enginetest.Open(t, "cpu", engine.Options{Threads: threads})
			cases := optest.StripCases()
			for _, c := range cases {
				if strings.HasPrefix(c.Name, "depthwise") {
					c.Element, c.Name = graph.TypeBF16, c.Name+", bf16"
					cases = append(cases, c)
				}
			}
			testCases(t, d, plan.Options{}, 0, cases)
			for _, c := range cases {
				g, err := c.Graph()
				if err != nil {
					t.Fatal(err)
				}
				// In bf16 all but depthwise convolutions and 3x3 ones of stride 1 without groups are oneDNN's.
				a := c.Op(g).Attr
				library := narrow(c) && !strings.HasPrefix(c.Name, "depthwise") && (a.Groups > 1 || a.Padding[0] == 0 || a.Stride[0] > 1)
				if name := kernelOf(t, d, g); strings.Contains(name, inStrips) == library {
					t.Errorf("%s: kernel %q", c, name)
				}
			}
		})
	}
}

// kernelOf is the name of the kernel of the first op of a graph.
func kernelOf(t *testing.T, d engine.Device, g *graph.Graph) string {
	t.Helper()
	p, err := d.Prepare(g)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	return p.Kernels()[0]
}

// TestStripsWithinLimit checks that strips are as short as a limit on workspaces requires.
func TestStripsWithinLimit(t *testing.T) {
	enginetest.NeedsCPU(t)
	open := func(limit int64) engine.Device {
		return enginetest.Open(t, "cpu", engine.Options{Threads: 2, WorkspaceLimit: limit})
	}
	if open(0).Facts()["isa"] == "default" {
		t.Skip("the processor has no AVX2: none of the kernels that compute strips was tested")
	}
	c := optest.StripCases()[0]
	g, err := c.Graph()
	if err != nil {
		t.Fatal(err)
	}
	p := bindTo(t, open(0), g, plan.Options{})
	limit := p.Scratch()[0] - 1
	d := open(limit)
	if short, bytes := kernelOf(t, d, g), bindTo(t, d, g, plan.Options{}).Scratch()[0]; !strings.Contains(short, inStrips) ||
		short == p.Kernels()[0] || bytes > limit {
		t.Errorf("limit %d: kernel %q with %d bytes; without a limit %q", limit, short, bytes, p.Kernels()[0])
	}
	testCases(t, d, plan.Options{}, 0, []optest.Case{c})
}

// TestStripsSameBits compares the results of convolutions that normalise their input in strips, by each kernel that can, with
// those of norm_apply and the same kernel one after the other: no bit may differ.
func TestStripsSameBits(t *testing.T) {
	enginetest.NeedsCPU(t)
	for _, kernel := range convKernels[1:] {
		d := enginetest.Open(t, "cpu", engine.Options{Threads: 2, PlanBook: kernel})
		if d.Facts()["isa"] == "default" {
			t.Skip("the processor has no AVX2: none of the kernels that compute strips was tested")
		}
		for _, s := range [][5]int64{{2, 32, 32, 16, 16}, {3, 11, 9, 16, 32}, {5, 7, 7, 32, 16}, {9, 1, 20, 16, 16}} {
			for _, element := range []graph.ElementType{graph.TypeF32, graph.TypeBF16} {
				if kernel == rowsKernel && element != graph.TypeBF16 {
					continue
				}
				for _, a := range []graph.Activation{graph.ActivationNone, graph.ActivationReLU, graph.ActivationSiLU} {
					t.Run(fmt.Sprintf("%s %v %s %s", kernel, s, element, a), func(t *testing.T) {
						whole, same := runNormalised(t, d, s, element, a, true), runNormalised(t, d, s, element, a, false)
						nan := slices.ContainsFunc(whole[0], func(x float32) bool { return x != x })
						if nan || !slices.Equal(whole[0], same[0]) {
							t.Error("y differs from that of the stored normalised input, or is not a number")
						}
					})
				}
			}
		}
	}
}
