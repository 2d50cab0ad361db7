package engine_test

import (
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/optest"
	"github.com/localbench/localbench/core/plan"
)

// limitISA is oneDNN's variable that limits the instruction set; it is read once by a process.
const limitISA = "ONEDNN_MAX_CPU_ISA"

// TestParityOnAVX2 runs the op table with AVX2 on a machine that has AVX-512, in a process of its own.
func TestParityOnAVX2(t *testing.T) {
	enginetest.NeedsCPU(t)
	if isa := enginetest.Open(t, "cpu", engine.Options{}).Facts()["isa"]; isa != "avx512f" {
		t.Skipf("the instruction set is %s: TestParity covers it, and another one was not tested", isa)
	}
	c := exec.Command(os.Args[0],
		"-test.run=^(TestParity|TestParityOfConvolutions|TestLimitedISA)$/^(cpu, 2 threads|winograd.*|direct.*)?$")
	c.Env = append(os.Environ(), limitISA+"=AVX2")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s=AVX2: %v\n%s", limitISA, err, out)
	}
}

// TestParityOfConvolutions runs the convolutions of the op table by each of our kernels that can compute them, also where
// the table of rates prefers another one. The tolerance is that of TestParity.
func TestParityOfConvolutions(t *testing.T) {
	enginetest.NeedsCPU(t)
	kinds := []graph.Kind{graph.KindConv, graph.KindConvBackwardData, graph.KindConvBackwardWeights}
	convolutions := slices.DeleteFunc(optest.Cases(), func(c optest.Case) bool {
		return narrow(c) || !slices.Contains(kinds, c.Kind)
	})
	for _, kernel := range append(slices.Clone(convKernels[1:]), "direct, few channels") {
		t.Run(kernel, func(t *testing.T) {
			d := enginetest.Open(t, "cpu", engine.Options{Threads: 2, PlanBook: kernel})
			testCases(t, d, plan.Options{}, 0, convolutions)
			served := slices.ContainsFunc(convolutions, func(c optest.Case) bool { return serves(t, d, kernel, c) })
			if d.Facts()["isa"] != "default" && !served {
				t.Errorf("%s computes none of the convolutions", kernel)
			}
		})
	}
}

// serves says whether the kernel computes a case.
func serves(t *testing.T, d engine.Device, kernel string, c optest.Case) bool {
	t.Helper()
	g, err := c.Graph()
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.Prepare(g)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	return p.Kernels()[0] == kernel
}

// TestLimitedISA checks in the process of TestParityOnAVX2 that AVX2 is what it tests.
func TestLimitedISA(t *testing.T) {
	if os.Getenv(limitISA) != "AVX2" {
		t.Skip("TestParityOnAVX2 runs this test")
	}
	if isa := enginetest.Open(t, "cpu", engine.Options{}).Facts()["isa"]; isa != "avx2" {
		t.Errorf("the instruction set is %s under %s=AVX2", isa, limitISA)
	}
}
