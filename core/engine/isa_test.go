package engine_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
)

// limitISA is oneDNN's variable that limits the instruction set; it is read once by a process.
const limitISA = "ONEDNN_MAX_CPU_ISA"

// TestParityOnAVX2 runs the op table with AVX2 on a machine that has AVX-512, in a process of its own.
func TestParityOnAVX2(t *testing.T) {
	enginetest.NeedsCPU(t)
	if isa := enginetest.Open(t, "cpu", engine.Options{}).Facts()["isa"]; isa != "avx512f" {
		t.Skipf("the instruction set is %s: TestParity covers it, and another one was not tested", isa)
	}
	c := exec.Command(os.Args[0], "-test.run=^(TestParity|TestLimitedISA)$/^(cpu, 2 threads)?$", "-test.v")
	c.Env = append(os.Environ(), limitISA+"=AVX2")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s=AVX2: %v\n%s", limitISA, err, out)
	}
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
