package engine_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
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
		"-test.run=^(TestParity|TestParityOfConvolutions|TestParityOfStrips|TestLimitedISA)$/"+
			"^((cpu, )?2 threads|winograd.*|direct.*|product|groups.*)?$")
	c.Env = append(os.Environ(), limitISA+"=AVX2")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s=AVX2: %v\n%s", limitISA, err, out)
	}
}

// TestParityOfConvolutions runs the convolutions of the op table, in f32 and in bf16, by each of our kernels that can compute
// them, also where the table of rates prefers another one. The tolerance is that of TestParity.
func TestParityOfConvolutions(t *testing.T) {
	enginetest.NeedsCPU(t)
	convolutions := slices.DeleteFunc(optest.Cases(), func(c optest.Case) bool {
		return !slices.Contains(convKinds, c.Kind)
	})
	for _, kernel := range append(slices.Clone(convKernels[1:]), "direct, few channels", "product", "groups of channels",
		stridedKernel, depthwiseKernel) {
		t.Run(kernel, func(t *testing.T) {
			d := enginetest.Open(t, "cpu", engine.Options{Threads: 2, PlanBook: kernel})
			testCases(t, d, plan.Options{}, 0, convolutions)
			if d.Facts()["isa"] == "default" {
				return
			}
			elements, of := []graph.ElementType{graph.TypeF32, graph.TypeBF16}, convKinds
			if !slices.Contains(convKernels, kernel) && kernel != depthwiseKernel {
				elements = elements[:1]
			}
			if !slices.Contains(append(slices.Clone(convKernels), stridedKernel, depthwiseKernel), kernel) {
				of = []graph.Kind{graph.KindConv, graph.KindConvBackwardWeights}
			}
			if kernel == rowsKernel {
				elements = elements[1:]
			}
			for _, element := range elements {
				for _, kind := range of {
					if !slices.ContainsFunc(convolutions, func(c optest.Case) bool {
						return c.Kind == kind && c.Element == element && serves(t, d, kernel, c)
					}) {
						t.Errorf("%s computes no case of %s in %s", kernel, kind, element)
					}
				}
			}
		})
	}
}

// digestVariable asks TestSameBitsOnEveryISA for the digest alone, in a process of its own.
const digestVariable = "LB_TEST_DIGEST"

// TestSameBitsOnEveryISA runs our convolutions, and normalisations in bf16, with AVX2, with AVX-512 and, where the processor has
// it, with AVX512_BF16, which rounds to bf16 by an instruction: results of the same op have the same bits.
func TestSameBitsOnEveryISA(t *testing.T) {
	enginetest.NeedsCPU(t)
	got := digest(t)
	if os.Getenv(digestVariable) != "" {
		fmt.Println("digest " + got)
		return
	}
	if isa := enginetest.Open(t, "cpu", engine.Options{}).Facts()["isa"]; isa != "avx512f" {
		t.Skipf("the instruction set is %s: there is no other one to compare with", isa)
	}
	for _, isa := range []string{"AVX2", "AVX512_CORE"} {
		c := exec.Command(os.Args[0], "-test.run=^TestSameBitsOnEveryISA$")
		c.Env = append(os.Environ(), limitISA+"="+isa, digestVariable+"=1")
		if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "digest "+got+"\n") {
			t.Errorf("%s=%s: %v, want digest %s\n%s", limitISA, isa, err, got, out)
		}
	}
}

// digest is a hash of what our kernels write in the cases of the op table that they serve.
func digest(t *testing.T) string {
	t.Helper()
	hash := sha256.New()
	for _, kernel := range append(slices.Clone(convKernels[1:]), stridedKernel, depthwiseKernel) {
		d := enginetest.Open(t, "cpu", engine.Options{Threads: 2, PlanBook: kernel})
		for _, c := range optest.Cases() {
			switch c.Kind {
			case graph.KindConv, graph.KindConvBackwardData, graph.KindConvBackwardWeights:
				if !serves(t, d, kernel, c) {
					continue
				}
			case graph.KindNormApply:
				if !narrow(c) {
					continue
				}
			default:
				continue
			}
			g, err := c.Graph()
			if err != nil {
				t.Fatal(err)
			}
			p := bind(t, d, g)
			for v, content := range c.Values(g, 1) {
				write(t, p, v, content)
			}
			if err := p.Run(0, len(g.Ops)); err != nil {
				t.Fatal(err)
			}
			for _, v := range optest.Written(c.Op(g)) {
				if err := binary.Write(hash, binary.LittleEndian, read(t, p, v)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return hex.EncodeToString(hash.Sum(nil))
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
	return p.Kernels()[0] == kernel || kernel == "groups of channels" && strings.Contains(p.Kernels()[0], "groups of")
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
