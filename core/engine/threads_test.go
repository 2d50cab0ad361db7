package engine_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
)

// TestWaitPolicySameBits: the parts of an op are the same whether threads share them or one thread computes them all, which
// depends on OpenMP's wait policy, so sums are the same to the bit. A process has one policy: the test runs itself with both.
func TestWaitPolicySameBits(t *testing.T) {
	enginetest.NeedsCPU(t)
	const child = "LOCALBENCH_TEST_BITS"
	if os.Getenv(child) != "" {
		fmt.Println("bits", bitsOfParts(t))
		return
	}
	var bits []string
	for _, policy := range []string{"passive", "active", "passive"} {
		c := exec.Command(os.Args[0], "-test.run=^TestWaitPolicySameBits$")
		c.Env = append(os.Environ(), child+"=1", "OMP_WAIT_POLICY="+policy)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", policy, err, out)
		}
		_, line, found := strings.Cut(string(out), "bits ")
		line, _, _ = strings.Cut(line, "\n")
		if !found || len(line) < 2*sha256.Size {
			t.Fatalf("%s: no bits in %q", policy, out)
		}
		bits = append(bits, line)
	}
	if bits[0] != bits[1] || bits[0] != bits[2] {
		t.Errorf("passive, active, passive: got %q, want the same", bits)
	}
}

// bitsOfParts is a digest of what ops write whose tensors are divided among three threads: 131072 elements are between the limits
// of both policies.
func bitsOfParts(t *testing.T) string {
	d, sum := openDevice(t, "cpu", 3), sha256.New()
	for _, f := range families(graph.TypeF32) {
		switch f.name {
		case "norm_stats", "norm_apply", "norm_backward_residual", "relu", "add", "sgd":
		default:
			continue
		}
		b := &builder{graph.NewBuilder(true), graph.TypeF32}
		f.build(b, 8, 32, 32, 16)
		g, err := b.Graph()
		if err != nil {
			t.Fatal(err)
		}
		op := g.Ops[len(g.Ops)-1]
		g.Outputs = append(g.Outputs, op.Results...)
		p := bind(t, d, g)
		for _, v := range g.Values {
			content := make([]float64, v.Shape.Elements())
			for i := range content {
				content[i] = 1.5 + math.Sin(float64(i)) // sums of them are rounded
			}
			write(t, p, v, content)
		}
		if err := p.Run(len(g.Ops)-1, len(g.Ops)); err != nil {
			t.Fatal(err)
		}
		for _, v := range append(op.Results, op.Operands...) {
			if v == nil || v.Type != graph.TypeF32 {
				continue
			}
			for _, x := range read(t, p, v) {
				bits := math.Float32bits(x)
				sum.Write([]byte{byte(bits), byte(bits >> 8), byte(bits >> 16), byte(bits >> 24)})
			}
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}
