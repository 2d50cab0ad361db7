//go:build !nocpu

package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/engine/native"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/optest"
)

// workbench is a native device for blobs that no graph would give.
type workbench struct {
	native.Backend
	device native.Device
}

func newWorkbench(t testing.TB) workbench {
	t.Helper()
	b, err := native.CPU()
	if err != nil {
		t.Fatal(err)
	}
	d, err := b.Open(native.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(d) })
	return workbench{b, d}
}

// try prepares the blob and, where it is a program of moderate size, runs it in
// an arena of its own. What matters is that it comes back.
func (w workbench) try(blob []byte) error {
	p, err := w.Prepare(w.device, blob)
	if err != nil {
		return err
	}
	defer w.Free(p)
	sizes, ops, ok := extents(blob)
	if !ok {
		return nil
	}
	scratch := make([]uint64, ops)
	if err := w.Scratch(p, scratch); err != nil {
		return err
	}
	end := uint64(0)
	next := func(size uint64) uint64 {
		at := end
		end += (size + 63) / 64 * 64
		return at
	}
	offsets := make([]uint64, len(sizes))
	for i, n := range sizes {
		offsets[i] = next(n)
	}
	for i, n := range scratch {
		scratch[i] = next(n)
	}
	if end > 1<<24 {
		return nil
	}
	a, err := w.NewArena(w.device, end)
	if err != nil {
		return err
	}
	defer w.FreeArena(a)
	if err := w.FillArena(a, 0x5a); err != nil {
		return err
	}
	if err := w.Bind(p, a, offsets, scratch); err != nil {
		return err
	}
	return w.Run(p, 0, uint64(ops))
}

// extents reads the sizes of the values of a blob that prepare has accepted;
// not ok if they are too large to try.
func extents(blob []byte) (sizes []uint64, ops int, ok bool) {
	values := binary.LittleEndian.Uint64(blob[8:])
	ops = int(binary.LittleEndian.Uint64(blob[16:]))
	for i := range values {
		at := 24 + 40*i
		size := uint64(4)
		for d := range uint64(4) {
			size *= binary.LittleEndian.Uint64(blob[at+8+8*d:])
			if size > 1<<20 {
				return nil, 0, false
			}
		}
		sizes = append(sizes, size)
	}
	return sizes, ops, true
}

// oneOfEach is a blob for every kind of op that the cpu backend has.
func oneOfEach(t testing.TB) map[graph.Kind][]byte {
	t.Helper()
	out := map[graph.Kind][]byte{}
	for _, c := range optest.Cases() {
		if out[c.Kind] != nil || c.Element == graph.TypeBF16 {
			continue
		}
		g, err := c.Graph()
		if err != nil {
			t.Fatal(err)
		}
		out[c.Kind] = encode(g)
	}
	return out
}

// TestBlobCut cuts every blob at every length: an error each time.
func TestBlobCut(t *testing.T) {
	w := newWorkbench(t)
	for kind, blob := range oneOfEach(t) {
		if _, err := w.Prepare(w.device, blob); err != nil {
			t.Fatalf("%s: whole blob: %v", kind, err)
		}
		for n := range blob {
			if _, err := w.Prepare(w.device, blob[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes were accepted", kind, n, len(blob))
			}
		}
		if _, err := w.Prepare(w.device, append(blob[:len(blob):len(blob)], 0)); err == nil {
			t.Errorf("%s: a byte too many was accepted", kind)
		}
	}
}

// TestBlobChanged writes uncomfortable numbers over every field of every blob.
func TestBlobChanged(t *testing.T) {
	w := newWorkbench(t)
	for _, blob := range oneOfEach(t) {
		for at := 8; at+8 <= len(blob); at += 4 {
			for _, x := range []uint64{0, 1, 2, 3, 7, 1 << 16, 1<<31 - 1, 1 << 31, 1 << 62, 1<<63 - 1, 1 << 63, ^uint64(0),
				0x7ff8000000000000} {
				changed := append([]byte(nil), blob...)
				binary.LittleEndian.PutUint64(changed[at:], x)
				_ = w.try(changed)
			}
		}
	}
}

// TestBlobRefused names what is wrong.
func TestBlobRefused(t *testing.T) {
	w := newWorkbench(t)
	whole := oneOfEach(t)[graph.KindConv]
	values := int(binary.LittleEndian.Uint64(whole[8:]))
	op := 24 + 40*values // kind, count of operands, operands
	for _, c := range []struct {
		name  string
		at    int
		value uint32
		want  []string
	}{
		{"another format", 0, 7, []string{"PROG"}},
		{"a version to come", 4, 999, []string{"version 999", fmt.Sprint("version ", native.BlobVersion)}},
		{"more values than bytes", 8, 1 << 30, []string{"counts"}},
		{"an unknown type", 24, 4, []string{"type 4"}},
		{"tensors of two types", 24, 3, []string{"operand 1 has type 0"}},
		{"an unknown kind", op, 99, []string{"kind 99"}},
		{"a rank of five", 28, 5, []string{"rank 5"}},
		{"an operand that is no value", op + 8, 77, []string{"value 77:"}},
		{"an operand too many", op + 4, 1025, []string{"1025 operands"}},
		{"a stream beyond the last", len(whole) - 8, 64, []string{"stream 64", "0 to 63"}},
		{"more waits than streams", len(whole) - 4, 64, []string{"64 waits"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			blob := append([]byte(nil), whole...)
			binary.LittleEndian.PutUint32(blob[c.at:], c.value)
			_, err := w.Prepare(w.device, blob)
			var e *native.Error
			if !errors.As(err, &e) || (e.Code != native.Invalid && e.Code != native.Unsupported) {
				t.Fatalf("got %v, want a refusal", err)
			}
			for _, part := range c.want {
				if !strings.Contains(e.Text, part) {
					t.Errorf("got %q, want it to say %q", e.Text, part)
				}
			}
			if c.at >= op && e.Op != 0 {
				t.Errorf("got op %d, want 0", e.Op)
			}
		})
	}
}

// TestBlobWaits waits for what an op may not wait for.
func TestBlobWaits(t *testing.T) {
	w := newWorkbench(t)
	b := graph.NewBuilder(true)
	y := b.ReLU(b.Input("x", graph.Shape{4}, graph.TypeF32))
	b.Output(b.ReLU(y))
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		stream, wait int
		want         string // empty: it is accepted
	}{
		{1, 0, ""},
		{0, 0, "waits for op 0: must be an earlier op of another stream"},
		{1, 1, "waits for op 1: must be an earlier op"},
		{1, -1, "waits for op -1: must be an earlier op"},
	} {
		g.Ops[1].Stream, g.Ops[1].Waits = c.stream, []int{c.wait}
		_, err := w.Prepare(w.device, encode(g))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("stream %d waits for op %d: got %v, want %q", c.stream, c.wait, err, c.want)
		}
	}
}

// FuzzBlob prepares, binds and runs whatever comes.
func FuzzBlob(f *testing.F) {
	for _, blob := range oneOfEach(f) {
		f.Add(blob)
	}
	w := newWorkbench(f)
	f.Fuzz(func(t *testing.T, blob []byte) { _ = w.try(blob) })
}
