package engine_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine"
	"github.com/localbench/localbench/core/engine/enginetest"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/optest"
)

var update = flag.Bool("update", false, "rewrite docs/ops.md and the rates of convolutions")

// saved is the part of docs/ops.md on what backward ops read.
const saved = `
## What the backward pass saves

A backward op reads the gradient of the result and what is listed here, which is saved in the forward pass, or recomputed
(` + "`--recompute`, `--budget`" + `). Of operand and result it reads the one that needs the least memory.

| op | reads | because |
|---|---|---|
| convolutions, ` + "`linear`" + ` | the operand | the gradient of the weight needs it |
| ` + "`norm_apply`" + ` | its operand and the statistics | with ReLU, ReLU6, SiLU or hardswish as its activation, too: ` +
	`the result of the normalisation is not stored |
| ` + "`layer_norm`" + ` | its operand | the statistics of a row are computed again while the row is in the cache |
| ` + "`relu`" + `; ` + "`activate`" + ` of sigmoid and hardsigmoid | the result | the next op often saves it anyway |
| ` + "`silu`" + `; ` + "`activate`" + ` of hardswish and GELU | the operand | the derivative doesn't follow from the result |
| ` + "`gate`" + `, ` + "`scale`" + ` | both operands | the factor is small, and the activation of a gate is part of the op: ` +
	`its result isn't stored |
| ` + "`max_pool`" + ` | a byte for each result | the place of the maximum in its window |
| ` + "`add`, `average_pool`, `adaptive_average_pool`, `dropout`, `upsample`" + ` | nothing | dropout draws its numbers again |
`

// TestOpTable compares docs/ops.md with the backends: which of them has a kernel of which kind. A kind
// that the CUDA backend lacks fails.
func TestOpTable(t *testing.T) {
	enginetest.NeedsCPU(t)
	devices := []engine.Device{openDevice(t, "reference", 1), openDevice(t, "cpu", 1), enginetest.Open(t, "emu", engine.Options{})}
	type element struct {
		kind graph.Kind
		bf16 bool
	}
	cases, lacks := map[element]bool{}, map[element][3]bool{} // by device
	for _, c := range optest.Cases() {
		g, err := c.Graph()
		if err != nil {
			t.Fatal(err)
		}
		e := element{c.Op(g).Kind, narrow(c)}
		cases[e] = true
		for i, d := range devices {
			p, err := d.Prepare(g)
			if err == nil {
				p.Close()
				continue
			}
			missing := lacks[e]
			missing[i] = true
			lacks[e] = missing
			t.Errorf("%s on %s: %v", c, d.Name(), err)
		}
	}
	var b strings.Builder
	b.WriteString("# Ops and backends\n\nMade by `go test ./core/engine -run OpTable -update`. " +
		"The kernels of cuda are tested on an emulation of\nCUDA on the host; " +
		"those of 27 November 2026 were on an H100, too (results/gpu). Newer ones are not yet run on a GPU.\n\n" +
		"| op | reference | cpu | cuda |\n|---|---|---|---|\n")
	for _, k := range graph.Kinds() {
		fmt.Fprintf(&b, "| `%s` |", k)
		for i := range devices {
			var words []string
			for _, e := range []element{{k, false}, {k, true}} {
				if cases[e] && !lacks[e][i] {
					words = append(words, map[bool]string{false: "f32", true: "bf16"}[e.bf16])
				}
			}
			fmt.Fprintf(&b, " %s |", cmp.Or(strings.Join(words, ", "), "no"))
		}
		b.WriteString("\n")
		if !cases[element{k, false}] && !cases[element{k, true}] {
			t.Errorf("%s: got no case in the op table, want some", k)
		}
	}
	b.WriteString(saved)
	const path = "../../docs/ops.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != b.String() {
		t.Errorf("%s is not what the backends are (%v): run this test with -update", path, err)
	}
}
