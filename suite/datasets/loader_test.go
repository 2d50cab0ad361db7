package datasets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/localbench/localbench/core/rng"
)

// copied is a batch that outlives its buffer.
type copied struct {
	images          []byte
	labels, samples []int32
	index           int
}

// drain reads the rest of an epoch.
func drain(t testing.TB, l *Loader) []copied {
	t.Helper()
	var all []copied
	for {
		batch, err := l.Next(context.Background())
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if batch.N != len(batch.Labels) || batch.N != len(batch.Samples) || batch.N*l.split.Shape.Bytes() != len(batch.Images) {
			t.Fatalf("batch %d: got %d labels, %d samples, %d bytes for N = %d",
				batch.Index, len(batch.Labels), len(batch.Samples), len(batch.Images), batch.N)
		}
		all = append(all, copied{bytes.Clone(batch.Images), slices.Clone(batch.Labels), slices.Clone(batch.Samples), batch.Index})
		l.Release(batch)
	}
}

// epoch makes a loader, reads it to the end and closes it.
func epoch(t testing.TB, split Split, options LoaderOptions) []copied {
	t.Helper()
	l, err := NewLoader(split, options)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return drain(t, l)
}

func sameBatches(t *testing.T, name string, got, want []copied) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: got %d batches, want %d", name, len(got), len(want))
	}
	for i := range want {
		g, w := got[i], want[i]
		if g.index != w.index || !bytes.Equal(g.images, w.images) || !slices.Equal(g.labels, w.labels) ||
			!slices.Equal(g.samples, w.samples) {
			t.Fatalf("%s: batch %d (index %d) differs from batch index %d", name, i, g.index, w.index)
		}
	}
}

// TestLoaderAgainstPlainLoop holds the loader against the definition: the order
// of the epoch's permutation, each image augmented by its own words.
func TestLoaderAgainstPlainLoop(t *testing.T) {
	split := numbered(103, Shape{8, 6, 3})
	for _, options := range []LoaderOptions{
		{Batch: 10},
		{Batch: 10, Seed: 4, Epoch: 9, Shuffle: true},
		{Batch: 10, Seed: 4, Epoch: 9, Shuffle: true, Augment: Augmentation{Pad: 3, Border: BorderReflect, Flip: true}},
		{Batch: 10, Seed: 5, Epoch: 9, Augment: Augmentation{Pad: 2}},
		{Batch: 103, Seed: 5, Shuffle: true},
		{Batch: 500, Seed: 5, Shuffle: true},
		{Batch: 1, Seed: 1},
	} {
		var want []copied
		order := make([]int32, split.N)
		for i := range order {
			order[i] = int32(i)
		}
		if options.Shuffle {
			order = rng.Stream{Seed: options.Seed, Purpose: rng.PurposeShuffle, Epoch: options.Epoch}.Permutation(split.N)
		}
		for at, sample := range order {
			if at%options.Batch == 0 {
				want = append(want, copied{index: at / options.Batch})
			}
			b := &want[len(want)-1]
			words := rng.Block(options.Seed, rng.PurposeAugment, options.Epoch, uint64(sample))
			b.images = append(b.images, slowAugment(options.Augment, split.Image(int(sample)), split.Shape, words)...)
			b.labels = append(b.labels, split.Labels[sample])
			b.samples = append(b.samples, sample)
		}
		sameBatches(t, fmt.Sprintf("%+v", options), epoch(t, split, options), want)
	}
}

func TestLoaderGivesEverySampleOnce(t *testing.T) {
	split := numbered(57, Shape{2, 2, 1})
	l, err := NewLoader(split, LoaderOptions{Batch: 8, Seed: 1, Shuffle: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var orders [][]int32
	for number := range uint32(3) {
		if err := l.Reset(number, 0); err != nil {
			t.Fatal(err)
		}
		var order []int32
		for _, batch := range drain(t, l) {
			order = append(order, batch.samples...)
		}
		orders = append(orders, slices.Clone(order))
		slices.Sort(order)
		for i, sample := range order {
			if len(order) != split.N || int(sample) != i {
				t.Fatalf("epoch %d: got samples %v, want each of %d once", number, order, split.N)
			}
		}
	}
	if slices.Equal(orders[0], orders[1]) || slices.Equal(orders[1], orders[2]) {
		t.Error("two epochs have the same order")
	}
}

func TestLoaderStartsInTheMiddle(t *testing.T) {
	split := numbered(57, Shape{4, 4, 3})
	options := LoaderOptions{Batch: 8, Seed: 1, Epoch: 3, Shuffle: true, Augment: Augmentation{Pad: 1, Flip: true}}
	want := epoch(t, split, options)
	for start := 0; start <= len(want); start++ {
		options.Start = start
		sameBatches(t, fmt.Sprintf("start %d", start), epoch(t, split, options), want[start:])
	}
}

func TestLoaderReset(t *testing.T) {
	split := numbered(57, Shape{4, 4, 3})
	options := LoaderOptions{Batch: 8, Seed: 1, Shuffle: true}
	l, err := NewLoader(split, options)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	buffers := l.BufferBytes()
	// Leave an epoch in the middle, with a batch in hand.
	held, err := l.Next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Reset(6, 2); err != nil {
		t.Fatal(err)
	}
	l.Release(held)
	options.Epoch, options.Start = 6, 2
	sameBatches(t, "after Reset", drain(t, l), epoch(t, split, options))
	if l.BufferBytes() != buffers {
		t.Errorf("buffers: got %d bytes after Reset, want %d", l.BufferBytes(), buffers)
	}
	for _, start := range []int{-1, l.Batches() + 1} {
		if err := l.Reset(1, start); err == nil {
			t.Errorf("Reset to batch %d of %d: got nil, want an error", start, l.Batches())
		}
	}
}

func TestLoaderBufferBytes(t *testing.T) {
	l, err := NewLoader(numbered(57, Shape{4, 4, 3}), LoaderOptions{Batch: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// Three buffers of 8 images of 48 bytes and 8 labels of 4, and the order of 57 samples.
	if want := int64(3*(8*48+8*4) + 57*4); l.BufferBytes() != want {
		t.Errorf("got %d bytes, want %d", l.BufferBytes(), want)
	}
}

func TestLoaderRefusesToRunOutOfBuffers(t *testing.T) {
	l, err := NewLoader(numbered(57, Shape{4, 4, 3}), LoaderOptions{Batch: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first, _ := l.Next(context.Background())
	for range 2 {
		if _, err := l.Next(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	const want = "batch 3: its buffer is in use by batch 0"
	if _, err := l.Next(context.Background()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("fourth batch of three buffers: got %v, want an error that names the holder", err)
	}
	l.Release(first)
	l.Release(first)
	if batch, err := l.Next(context.Background()); err != nil || batch.Index != 3 {
		t.Errorf("after the release: got %v, %v, want batch 3", batch, err)
	}
}

// TestLoaderEnds runs in a bubble: it fails when a goroutine leaks.
func TestLoaderEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		use  func(t *testing.T, l *Loader)
	}{
		{"nothing was read", func(*testing.T, *Loader) {}},
		{"one batch was read and kept", func(t *testing.T, l *Loader) {
			if _, err := l.Next(context.Background()); err != nil {
				t.Error(err)
			}
		}},
		{"all was read", func(t *testing.T, l *Loader) { drain(t, l) }},
		{"the context was cancelled in the middle", func(t *testing.T, l *Loader) {
			ctx, cancel := context.WithCancel(context.Background())
			batch, err := l.Next(ctx)
			if err != nil {
				t.Error(err)
			}
			l.Release(batch)
			cancel()
			if _, err := l.Next(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("Next: got %v, want %v", err, context.Canceled)
			}
		}},
		{"it was reset", func(t *testing.T, l *Loader) {
			if err := l.Reset(1, 1); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, err := NewLoader(numbered(57, Shape{4, 4, 3}), LoaderOptions{Batch: 8})
				if err != nil {
					t.Fatal(err)
				}
				c.use(t, l)
				l.Close()
				l.Close()
				if _, err := l.Next(context.Background()); err == nil || err == io.EOF {
					t.Errorf("Next after Close: got %v, want an error", err)
				}
				if err := l.Reset(0, 0); err == nil {
					t.Error("Reset after Close: got nil, want an error")
				}
			})
		})
	}
}

// TestLoaderCloseWaits closes while workers are inside batches of milliseconds
// and looks for them in the stacks.
func TestLoaderCloseWaits(t *testing.T) {
	l, err := NewLoader(numbered(4000, Shape{32, 32, 3}), LoaderOptions{Batch: 500, Augment: Augmentation{Pad: 4, Flip: true}})
	if err != nil {
		t.Fatal(err)
	}
	stacks := func() string {
		text := make([]byte, 1<<20)
		return string(text[:runtime.Stack(text, true)])
	}
	const worker = "(*Loader).work("
	// There are more batches than buffers, so the worker is there until Close.
	for !strings.Contains(stacks(), worker) {
		runtime.Gosched()
	}
	l.Close()
	if strings.Contains(stacks(), worker) {
		t.Error("a worker still runs after Close")
	}
}

// A batch that is ready is delivered, and one that never gets ready ends with the context's error.
func TestLoaderWaits(t *testing.T) {
	l, s := &Loader{}, &slot{ready: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.wait(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("a slot that is never filled: got %v, want %v", err, context.Canceled)
	}
	s.ready <- struct{}{}
	if err := l.wait(context.Background(), s); err != nil {
		t.Errorf("a full slot: got %v", err)
	}
}

func TestLoaderChecksOptions(t *testing.T) {
	good := numbered(10, Shape{4, 4, 3})
	short, unlabelled := good, good
	short.Images = short.Images[1:]
	unlabelled.Labels = unlabelled.Labels[1:]
	for _, c := range []struct {
		name    string
		split   Split
		options LoaderOptions
		want    string
	}{
		{"no batch", good, LoaderOptions{}, "batch 0: must be"},
		{"a start after the end", good, LoaderOptions{Batch: 5, Start: 3}, "start at batch 3: must be 0 to 2"},
		{"a start before the start", good, LoaderOptions{Batch: 5, Start: -1}, "start at batch -1: must be"},
		{"a pad that does not fit", good, LoaderOptions{Batch: 5, Augment: Augmentation{Pad: 4, Border: BorderReflect}},
			"pad 4: must be"},
		{"an empty split", Split{Shape: good.Shape}, LoaderOptions{Batch: 5}, "0 samples of"},
		{"too few pixels", short, LoaderOptions{Batch: 5}, "479 bytes, but need 480"},
		{"too few labels", unlabelled, LoaderOptions{Batch: 5}, "9 labels for 10 samples"},
	} {
		l, err := NewLoader(c.split, c.options)
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// TestLoaderStepAllocatesNothing counts what all goroutines allocate.
func TestLoaderStepAllocatesNothing(t *testing.T) {
	options := LoaderOptions{Batch: 4, Shuffle: true, Augment: Augmentation{Pad: 2, Flip: true}}
	l, err := NewLoader(numbered(2000, Shape{8, 8, 3}), options)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	step := func() {
		batch, err := l.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		l.Release(batch)
	}
	for range 20 {
		step()
	}
	if n := testing.AllocsPerRun(200, step); n != 0 {
		t.Errorf("a step: got %v allocations, want 0", n)
	}
}

func BenchmarkLoader(b *testing.B) {
	set, err := synthetic().Open("", Options{TestLimit: 1})
	if err != nil {
		b.Fatal(err)
	}
	l, err := NewLoader(set.Train, LoaderOptions{Batch: 1024, Shuffle: true, Augment: set.Augment})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	b.SetBytes(int64(len(set.Train.Images)))
	b.ReportAllocs()
	for number := uint32(0); b.Loop(); number++ {
		if err := l.Reset(number, 0); err != nil {
			b.Fatal(err)
		}
		for range l.Batches() {
			batch, err := l.Next(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			l.Release(batch)
		}
	}
}
