package graph_test

import (
	"strings"
	"testing"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/rng"
)

// The salt is the key of the op's name, as parameters have one.
func TestDropoutSalt(t *testing.T) {
	b := graph.NewBuilder(true)
	b.EnableDropout()
	x := b.Input("x", graph.Shape{2, 3}, graph.TypeF32)
	for _, name := range []string{"classifier.2", "classifier.5"} {
		b.In(name, func() { x = b.Dropout(x, b.DropoutStream(), graph.DropoutOptions{Rate: 0.5}) })
	}
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"classifier.2", "classifier.5"} {
		if got, want := g.Ops[i].Attr.Salt, int64(rng.NameKey(name)); got != want {
			t.Errorf("%s: got salt %d, want %d", name, got, want)
		}
	}
	if len(g.Inputs) != 2 || g.Ops[0].Operands[1] != g.Ops[1].Operands[1] {
		t.Errorf("got inputs %v, want x and one stream for both", g.Inputs)
	}
}

func TestDropoutErrors(t *testing.T) {
	for _, c := range []struct {
		name  string
		want  string
		write func(b *graph.Builder, x, stream *graph.Value)
	}{
		{"nothing is dropped", "rate 0: must be more than 0", func(b *graph.Builder, x, stream *graph.Value) {
			b.Dropout(x, stream, graph.DropoutOptions{})
		}},
		{"all is dropped", "rate 1: must be more than 0 and less than 1", func(b *graph.Builder, x, stream *graph.Value) {
			b.Dropout(x, stream, graph.DropoutOptions{Rate: 1})
		}},
		{"a stream of another type", "must be s32", func(b *graph.Builder, x, stream *graph.Value) {
			b.Dropout(x, x, graph.DropoutOptions{Rate: 0.5})
		}},
		{"two in one scope", `scopes "a" and "a" draw the same numbers`, func(b *graph.Builder, x, stream *graph.Value) {
			b.In("a", func() {
				b.Dropout(b.Dropout(x, stream, graph.DropoutOptions{Rate: 0.5}), stream, graph.DropoutOptions{Rate: 0.5})
			})
		}},
	} {
		b := graph.NewBuilder(true)
		x, stream := b.Input("x", graph.Shape{2, 3}, graph.TypeF32), b.Input("stream", graph.Shape{3}, graph.TypeS32)
		c.write(b, x, stream)
		if _, err := b.Graph(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		}
	}
}

// An evaluation has no stream, nor has a training step that does not ask for dropout.
func TestDropoutStream(t *testing.T) {
	for _, c := range []struct{ training, enabled, want bool }{{true, true, true}, {true, false, false}, {false, true, false}} {
		b := graph.NewBuilder(c.training)
		if c.enabled {
			b.EnableDropout()
		}
		if got := b.DropoutStream() != nil; got != c.want {
			t.Errorf("training %v, enabled %v: stream %v, want %v", c.training, c.enabled, got, c.want)
		}
	}
}
