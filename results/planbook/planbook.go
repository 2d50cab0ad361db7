// Package planbook holds the tuning cache: the data that planning for a GPU needs on a machine without it.
// These are the convolution engine for each convolution, selected on the GPU by `benchctl tune`, and the
// properties by which cuDNN selects engines itself. It is kept in version control, so that the memory of a
// step is known exactly before it runs, on machines without that GPU too.
package planbook

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/files"
)

// maxFileBytes bounds the size of a cache; an entry has some 200 bytes.
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
	// Properties are cuDNN's properties of the GPU, which it needs to select engines
	// for it: JSON, a flat object with cuDNN's names.
	Properties json.RawMessage `json:"properties"`
	Source     string          `json:"source"` // where they come from; OnGPU: from the GPU itself
	Rates      *Rates          `json:"rates,omitempty"`
}

// Rates are the peak rates of a GPU per second.
type Rates struct {
	Bytes  float64            `json:"bytes_per_second"` // between memory and processors
	FLOPs  map[string]float64 `json:"flops_per_second"` // by precision, a multiply-add as two
	Source string             `json:"source"`
}

// OnGPU is the source of properties that were read on the GPU.
const OnGPU = "the GPU itself"

// MemoryBytes is the whole memory of the GPU; 0 if the properties lack it.
func (g GPU) MemoryBytes() int64 {
	var p struct {
		Bytes int64 `json:"totalGlobalMem"`
	}
	_ = json.Unmarshal(g.Properties, &p) // parse has seen it
	return p.Bytes
}

// Book is a tuning cache.
type Book struct {
	Schema  int     `json:"schema"`
	Kinds   []GPU   `json:"gpus,omitempty"` // the first is the one to plan for where none is named
	Entries []Entry `json:"entries"`
}

// Open reads the cache in a file, or with an empty path the built-in one.
func Open(path string) (Book, error) {
	if path != "" {
		return Read(path)
	}
	return parse(own, "the built-in cache")
}

// Read reads a cache from a file.
func Read(path string) (Book, error) {
	text, err := files.Read(path, maxFileBytes)
	if err != nil {
		return Book{}, fmt.Errorf("tuning cache: %w", err)
	}
	return parse(text, path)
}

func parse(text []byte, name string) (b Book, err error) {
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fmt.Errorf("tuning cache: %s: %w", name, err)
	}
	if b.Schema != schema {
		return b, fmt.Errorf("tuning cache: %s: schema %d: must be %d", name, b.Schema, schema)
	}
	for _, e := range b.Entries {
		if strings.ContainsAny(e.Signature+e.Knobs, "\t\n") || e.Signature == "" || e.WorkspaceBytes < 0 {
			return b, fmt.Errorf("tuning cache: %s: entry %q: must have a signature of one line and a workspace of at least 0 bytes",
				name, e.Signature)
		}
	}
	for _, g := range b.Kinds {
		if g.Name == "" || !json.Valid(g.Properties) {
			return b, fmt.Errorf("tuning cache: %s: GPU %q: must have a name and properties", name, g.Name)
		}
		if g.Rates != nil && (g.Rates.Bytes <= 0 || len(g.Rates.FLOPs) == 0) {
			return b, fmt.Errorf("tuning cache: %s: GPU %q: rates must have bytes and operations per second", name, g.Name)
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

// Find returns the GPU with a name, or with a unique part of a name: "h100". Case is
// ignored; empty means the first GPU. GPUs of the cache come before those that are only in the
// built-in cache.
func (b Book) Find(name string) (GPU, error) {
	builtIn, err := parse(own, "the built-in cache")
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
		return GPU{}, fmt.Errorf("--gpu %q: must be one of %s; `benchctl tune` adds the GPU of this machine to the tuning cache",
			name, strings.Join(names, ", "))
	}
	return found[0], nil
}

// Know adds the properties read on a GPU.
func (b *Book) Know(gpu, properties string) error {
	if !json.Valid([]byte(properties)) {
		return fmt.Errorf("tuning cache: properties of %s: %q is not JSON", gpu, properties)
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

// Add adds the engines selected by a backend, in the form of Lines; they replace older entries with the
// same signature, GPU and version.
func (b *Book) Add(gpu, cudnn, lines string) error {
	for line := range strings.Lines(lines) {
		e := Entry{GPU: gpu, CUDNN: cudnn}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 5 {
			return fmt.Errorf("tuning cache: %q: must be five fields separated by tabs", line)
		}
		e.Signature, e.Knobs = fields[0], fields[2]
		_, err1 := fmt.Sscan(fields[1], &e.Engine)
		_, err3 := fmt.Sscan(fields[3], &e.WorkspaceBytes)
		_, err4 := fmt.Sscan(fields[4], &e.Microseconds)
		if err := errors.Join(err1, err3, err4); err != nil {
			return fmt.Errorf("tuning cache: %q: %w", line, err)
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

// Write writes the cache to a file atomically.
func (b Book) Write(path string) error {
	b.Schema = schema
	text, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return fmt.Errorf("tuning cache: %w", err)
	}
	if err := atomicfile.WriteBytes(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("tuning cache: %w", err)
	}
	return nil
}
