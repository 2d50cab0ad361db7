// Package weights writes and reads the persistent values of a program as
// safetensors files: parameters, running statistics and optimizer state, under
// the names and in the canonical element order of the common frameworks (OIHW),
// so that a file says nothing of how the program lays them out.
package weights

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/localbench/localbench/core/graph"
	"github.com/nlpodyssey/safetensors"
)

// Store reads and writes the values of a bound program.
type Store interface {
	Read(v *graph.Value, dst any) error
	Write(v *graph.Value, src any) error
}

// Save writes values and the metadata to path: beside it, synced, renamed. It
// holds one tensor in memory at a time.
func Save(path string, s Store, values []*graph.Value, metadata map[string]string) error {
	views, shared := map[string]*view{}, &buffers{store: s}
	for _, v := range values {
		views[v.Name] = &view{value: v, buffers: shared}
	}
	file, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644))
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	defer file.Cleanup()
	if err := safetensors.SerializeToWriter(views, metadata, io.Writer(file)); err != nil {
		return fmt.Errorf("weights: %s: %w", path, err)
	}
	if shared.err != nil {
		return fmt.Errorf("weights: %s: %w", path, shared.err)
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	return nil
}

// Load reads into values what Save wrote and returns the metadata. The file must
// hold these tensors and no others: an error lists every one that is missing,
// extra or of another shape, and nothing is written.
func Load(path string, s Store, values []*graph.Value) (map[string]string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	return load(path, content, s, values)
}

// LoadModel reads a file of starting weights into values, which are parameters and
// running statistics: one that Save wrote, or that a common framework wrote in
// the safetensors format. Beside what Load accepts it passes over the counters
// num_batches_tracked, and leaves all auxiliary networks as they are if the file has
// nothing of any.
func LoadModel(path string, s Store, values []*graph.Value) error {
	content, values, err := readModel(path, values)
	if err != nil {
		return err
	}
	_, err = load(path, content, s, values, counters)
	return err
}

// CheckModel says whether LoadModel would accept the file for these values.
func CheckModel(path string, values []*graph.Value) error {
	content, values, err := readModel(path, values)
	if err != nil {
		return err
	}
	file, err := safetensors.Deserialize(content)
	if err != nil {
		return fmt.Errorf("weights: %s: damaged: %w", path, err)
	}
	return compare(path, file, values, []string{counters})
}

// counters are tensors of normalisations that nothing here reads.
const counters = ".num_batches_tracked"

// readModel reads a file and leaves out of values the auxiliary networks' where
// the file has none.
func readModel(path string, values []*graph.Value) ([]byte, []*graph.Value, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("weights: %w", err)
	}
	file, err := safetensors.Deserialize(content)
	if err != nil {
		return nil, nil, fmt.Errorf("weights: %s: not a whole safetensors file: %w", path, err)
	}
	isAuxiliary := func(name string) bool { return strings.HasPrefix(name, "aux.") }
	if !slices.ContainsFunc(file.Names(), isAuxiliary) {
		values = slices.DeleteFunc(slices.Clone(values), func(v *graph.Value) bool { return isAuxiliary(v.Name) })
	}
	return content, values, nil
}

// Digest returns a short name of a file's content.
func Digest(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("weights: %w", err)
	}
	return fmt.Sprintf("sha256:%.8x", sha256.Sum256(content)), nil
}

// load fills values from a file's content; tensors whose name ends in one of
// passed are not looked at.
func load(path string, content []byte, s Store, values []*graph.Value, passed ...string) (map[string]string, error) {
	_, meta, err := safetensors.ReadMetadata(content)
	if err != nil {
		return nil, fmt.Errorf("weights: %s: not a safetensors file: %w", path, err)
	}
	file, err := safetensors.Deserialize(content)
	if err != nil {
		return nil, fmt.Errorf("weights: %s: damaged: %w", path, err)
	}
	if err := compare(path, file, values, passed); err != nil {
		return nil, err
	}
	for _, v := range values {
		t, _ := file.Tensor(v.Name)
		canonical := make([]float32, v.Shape.Elements())
		for i := range canonical {
			canonical[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data()[4*i:]))
		}
		program := make([]float32, len(canonical))
		graph.ToProgram(v, program, canonical)
		if err := s.Write(v, program); err != nil {
			return nil, err
		}
	}
	return meta.Metadata(), nil
}

// compare lists what is missing, left over or of another shape.
func compare(path string, file safetensors.SafeTensors, values []*graph.Value, passed []string) error {
	var faults []string
	known := map[string]bool{}
	for _, v := range values {
		known[v.Name] = true
		t, ok := file.Tensor(v.Name)
		want := v.CanonicalShape()
		switch {
		case !ok:
			faults = append(faults, "missing "+v.Name)
		case t.DType() != safetensors.F32 || !equal(t.Shape(), want):
			faults = append(faults, fmt.Sprintf("%s is %s%v, want F32%v", v.Name, t.DType(), t.Shape(), []int64(want)))
		}
	}
	for _, name := range file.Names() {
		if !known[name] && !slices.ContainsFunc(passed, func(p string) bool { return strings.HasSuffix(name, p) }) {
			faults = append(faults, "extra "+name)
		}
	}
	if faults == nil {
		return nil
	}
	slices.Sort(faults)
	return fmt.Errorf("weights: %s does not fit the network: %s", path, strings.Join(faults, "; "))
}

func equal(a []uint64, b graph.Shape) bool {
	return slices.EqualFunc(a, b, func(x uint64, y int64) bool { return int64(x) == y })
}

// view reads one tensor when the file is written. All views of a file share
// their buffers: a tensor is written before the next one is asked for, and the
// memory of a run that saves its state hardly grows.
type view struct {
	value *graph.Value
	*buffers
}

type buffers struct {
	store              Store
	program, canonical []float32
	octets             []byte
	err                error // the first; the interface of the library has none
}

// DType is the element type in the file.
func (v *view) DType() safetensors.DType { return safetensors.F32 }

// Shape is the canonical shape.
func (v *view) Shape() []uint64 {
	var s []uint64
	for _, d := range v.value.CanonicalShape() {
		s = append(s, uint64(d))
	}
	return s
}

// DataLen is the size in bytes.
func (v *view) DataLen() uint64 { return uint64(v.value.Bytes()) }

// Data reads the tensor and returns its bytes in canonical order, valid until
// the next call on any view of the file.
func (v *view) Data() []byte {
	n := int(v.value.Shape.Elements())
	v.program = slices.Grow(v.program[:0], n)[:n]
	v.canonical = slices.Grow(v.canonical[:0], n)[:n]
	if err := v.store.Read(v.value, v.program); err != nil && v.err == nil {
		v.err = err
	}
	graph.ToCanonical(v.value, v.canonical, v.program)
	v.octets = v.octets[:0]
	for _, x := range v.canonical {
		v.octets = binary.LittleEndian.AppendUint32(v.octets, math.Float32bits(x))
	}
	return v.octets
}
