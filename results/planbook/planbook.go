// Package planbook holds what plans need to know of GPUs that are not here: which convolution engine
// one uses for which convolution, made on the GPU by `benchctl tune`, and what cuDNN looks at when it
// chooses an engine by itself. It is kept in version control, so that the memory of a step is
// known exactly before it runs, on a machine without that GPU too.
package planbook

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/files"
)

// maxFileBytes bounds a book that Read takes in; an entry has some 200 bytes.
const maxFileBytes = 64 << 20

//go:embed book.json
var own []byte

// schema is the version of the file.
const schema = 1

// Entry is the engine of one signature on one kind of GPU with one version of cuDNN.
type Entry struct {
	GPU            string  `json:"gpu"`       // the driver's name of it
	CUDNN          string  `json:"cudnn"`     // 9.19.1
	Signature      string  `json:"signature"` // kind, precision and shapes, as the backend writes them
	Engine         int64   `json:"engine"`
	Knobs          string  `json:"knobs"` // number=value,...
	WorkspaceBytes int64   `json:"workspace_bytes"`
	Microseconds   float64 `json:"microseconds,omitempty"` // when it was chosen
}

// GPU is a kind of GPU.
type GPU struct {
	Name string `json:"name"` // the driver's
	// Properties are what cuDNN tells of the GPU, and what it needs to be told to choose engines
	// for it: JSON, a flat object with the names of its own.
	Properties json.RawMessage `json:"properties"`
	Source     string          `json:"source"` // where they come from; OnGPU: from the GPU itself
	Rates      *Rates          `json:"rates,omitempty"`
}

// Rates are what a GPU does in a second at the most.
type Rates struct {
	Bytes  float64            `json:"bytes_per_second"` // between memory and processors
	FLOPs  map[string]float64 `json:"flops_per_second"` // by precision, a multiply-add as two
	Source string             `json:"source"`
}

// OnGPU is the source of properties that a GPU told of itself.
const OnGPU = "the GPU itself"

// MemoryBytes is the whole memory of the GPU; 0 if the properties do not tell.
func (g GPU) MemoryBytes() int64 {
	var p struct {
		Bytes int64 `json:"totalGlobalMem"`
	}
	_ = json.Unmarshal(g.Properties, &p) // parse has seen it
	return p.Bytes
}

// Book is a plan book.
type Book struct {
	Schema  int     `json:"schema"`
	Kinds   []GPU   `json:"gpus,omitempty"` // the first is the one to plan for where none is named
	Entries []Entry `json:"entries"`
}

// used is the path of Use.
var used atomic.Pointer[string]

// Use names the file whose book Current is, for the whole process; empty: that of the program.
func Use(path string) { used.Store(&path) }

// Current is the book that plans are made with: the one in the file of Use, or the one that this
// program was built with.
func Current() (Book, error) {
	if path := used.Load(); path != nil && *path != "" {
		return Read(*path)
	}
	return parse(own, "the book of this program")
}

// Read reads a book from a file.
func Read(path string) (Book, error) {
	text, err := files.Read(path, maxFileBytes)
	if err != nil {
		return Book{}, fmt.Errorf("plan book: %w", err)
	}
	return parse(text, path)
}

func parse(text []byte, name string) (b Book, err error) {
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fmt.Errorf("plan book: %s: %w", name, err)
	}
	if b.Schema != schema {
		return b, fmt.Errorf("plan book: %s: schema: got %d, want %d", name, b.Schema, schema)
	}
	for _, e := range b.Entries {
		if strings.ContainsAny(e.Signature+e.Knobs, "\t\n") || e.Signature == "" || e.WorkspaceBytes < 0 {
			return b, fmt.Errorf("plan book: %s: entry %q: want a signature of one line and a workspace of at least 0 bytes", name, e.Signature)
		}
	}
	for _, g := range b.Kinds {
		if g.Name == "" || !json.Valid(g.Properties) {
			return b, fmt.Errorf("plan book: %s: GPU %q: want a name and properties", name, g.Name)
		}
		if g.Rates != nil && (g.Rates.Bytes <= 0 || len(g.Rates.FLOPs) == 0) {
			return b, fmt.Errorf("plan book: %s: GPU %q: rates: want bytes and operations a second", name, g.Name)
		}
	}
	return b, nil
}

// Lines are the entries of a GPU and a version of cuDNN as the backend reads them: signature,
// engine, knobs, workspace and microseconds, between tabs.
func (b Book) Lines(gpu, cudnn string) string {
	var out strings.Builder
	for _, e := range b.Entries {
		if e.GPU == gpu && e.CUDNN == cudnn {
			fmt.Fprintf(&out, "%s\t%d\t%s\t%d\t%g\n", e.Signature, e.Engine, e.Knobs, e.WorkspaceBytes, e.Microseconds)
		}
	}
	return out.String()
}

// Find is the GPU of a name, or of a part of one that no other has: "h100". Small and large letters
// are the same; empty is the first. The book's own GPUs come before those that this program
// knows besides.
func (b Book) Find(name string) (GPU, error) {
	builtIn, err := parse(own, "the book of this program")
	if err != nil {
		return GPU{}, err
	}
	kinds := slices.Clone(b.Kinds)
	for _, g := range builtIn.Kinds {
		if !slices.ContainsFunc(kinds, func(k GPU) bool { return k.Name == g.Name }) {
			kinds = append(kinds, g)
		}
	}
	for _, e := range b.Entries {
		if !slices.ContainsFunc(kinds, func(k GPU) bool { return k.Name == e.GPU }) {
			kinds = append(kinds, GPU{Name: e.GPU})
		}
	}
	if name == "" {
		return kinds[0], nil
	}
	var found []GPU
	var names []string
	for _, g := range kinds {
		if strings.EqualFold(g.Name, name) {
			return g, nil
		}
		if strings.Contains(strings.ToLower(g.Name), strings.ToLower(name)) {
			found = append(found, g)
		}
		names = append(names, g.Name)
	}
	if len(found) != 1 {
		return GPU{}, fmt.Errorf("gpu: got %q, want one of %s; `benchctl tune` adds the GPU that it runs on to the plan book", name, strings.Join(names, ", "))
	}
	return found[0], nil
}

// Know takes over what a GPU told of itself.
func (b *Book) Know(gpu, properties string) error {
	if !json.Valid([]byte(properties)) {
		return fmt.Errorf("plan book: properties of %s: got %q, want JSON", gpu, properties)
	}
	g := GPU{Name: gpu, Properties: json.RawMessage(properties), Source: OnGPU}
	if old, err := b.Find(gpu); err == nil && old.Name == gpu {
		g.Rates = old.Rates // which it does not tell
	}
	if i := slices.IndexFunc(b.Kinds, func(k GPU) bool { return k.Name == gpu }); i >= 0 {
		b.Kinds[i] = g
	} else {
		b.Kinds = append(b.Kinds, g)
	}
	return nil
}

// Add takes over what a backend has chosen, in the form of Lines; older entries of the
// same signature, GPU and version go.
func (b *Book) Add(gpu, cudnn, lines string) error {
	for line := range strings.Lines(lines) {
		e := Entry{GPU: gpu, CUDNN: cudnn}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 5 {
			return fmt.Errorf("plan book: got %q, want five fields between tabs", line)
		}
		e.Signature, e.Knobs = fields[0], fields[2]
		_, err1 := fmt.Sscan(fields[1], &e.Engine)
		_, err3 := fmt.Sscan(fields[3], &e.WorkspaceBytes)
		_, err4 := fmt.Sscan(fields[4], &e.Microseconds)
		if err := errors.Join(err1, err3, err4); err != nil {
			return fmt.Errorf("plan book: %q: %w", line, err)
		}
		b.Entries = slices.DeleteFunc(b.Entries, func(old Entry) bool {
			return old.GPU == gpu && old.CUDNN == cudnn && old.Signature == e.Signature
		})
		b.Entries = append(b.Entries, e)
	}
	slices.SortFunc(b.Entries, func(x, y Entry) int {
		return cmp.Or(strings.Compare(x.GPU, y.GPU), strings.Compare(x.CUDNN, y.CUDNN), strings.Compare(x.Signature, y.Signature))
	})
	return nil
}

// Write writes the book to a file, whole or not at all.
func (b Book) Write(path string) error {
	b.Schema = schema
	text, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return fmt.Errorf("plan book: %w", err)
	}
	if err := atomicfile.WriteBytes(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("plan book: %w", err)
	}
	return nil
}
