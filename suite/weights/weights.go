// Package weights writes and reads the persistent values of a program as
// safetensors files: parameters, running statistics and optimizer state, under
// the names and in the canonical element order of the common frameworks (OIHW),
// so that a file does not depend on the program's memory layout. Tensors are copied in pieces: saving and
// loading need about a MiB for networks of any size.
package weights

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/files"
	"github.com/nlpodyssey/safetensors"
)

// Store reads and writes the values of a bound program: len(slice) elements starting at element
// first, in the program's order.
type Store interface {
	ReadAt(v *graph.Value, first int64, dst any) error
	WriteAt(v *graph.Value, first int64, src any) error
}

// Save writes values and the metadata to path: beside it, synced, renamed. Errors are an *atomicfile.Error.
func Save(path string, s Store, values []*graph.Value, metadata map[string]string) error {
	err := atomicfile.Write(path, 0o644, func(w io.Writer) error { return Write(w, s, values, metadata) })
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	return nil
}

// Write writes values and the metadata as a safetensors file.
func Write(w io.Writer, s Store, values []*graph.Value, metadata map[string]string) error {
	out := &output{store: s, file: w}
	views := map[string]view{}
	for _, v := range values {
		views[v.Name] = view{v, out}
	}
	if err := safetensors.SerializeToWriter(views, metadata, w); err != nil {
		return err
	}
	return out.err
}

// LoadModel reads a file of starting weights into values, which are parameters and
// running statistics: one that Save wrote, or that a common framework wrote in
// the safetensors format. The file must hold these tensors and no others: an error lists every one that is missing, extra or of
// another shape, and nothing is written. Two things may differ: counters num_batches_tracked are ignored, and all auxiliary
// networks stay unchanged if the file has none of their tensors.
func LoadModel(path string, s Store, values []*graph.Value) error {
	f, values, err := openModel(path, values)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.load(s, values)
}

// CheckModel checks whether LoadModel would accept the file for these values.
func CheckModel(path string, values []*graph.Value) error {
	f, _, err := openModel(path, values)
	if err != nil {
		return err
	}
	return f.Close()
}

// counters are tensors of normalisations that are ignored here.
const counters = ".num_batches_tracked"

// openModel opens a file that fits values, without those of auxiliary networks if the file has
// none of them.
func openModel(path string, values []*graph.Value) (*file, []*graph.Value, error) {
	f, err := open(path)
	if err != nil {
		return nil, nil, err
	}
	isAuxiliary := func(name string) bool { return strings.HasPrefix(name, "aux.") }
	if !slices.ContainsFunc(f.names, isAuxiliary) {
		values = slices.DeleteFunc(slices.Clone(values), func(v *graph.Value) bool { return isAuxiliary(v.Name) })
	}
	if err := f.compare(values, counters); err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, values, nil
}

// Digest returns a short name of a file's content.
func Digest(path string) (string, error) {
	f, _, err := files.Open(path, maxFileBytes)
	if err != nil {
		return "", fmt.Errorf("weights: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("weights: %w", err)
	}
	return fmt.Sprintf("sha256:%.8x", sum.Sum(nil)), nil
}

// piece holds the buffers for one piece of a tensor: in the program's order, in the file's order, and
// as the file's bytes. A row (graph.Value.Pieces) that is longer than PieceElements makes it grow.
type piece struct {
	program, canonical []float32
	octets             []byte
}

// PieceElements is the number of elements copied at once: 256 KiB of f32, which is little memory, and large enough for
// files and devices.
const PieceElements = 1 << 16

func (p *piece) resize(elements int64) {
	n, room := int(elements), int(max(elements, PieceElements))
	p.program = slices.Grow(p.program[:0], room)[:n]
	p.canonical = slices.Grow(p.canonical[:0], room)[:n]
	p.octets = slices.Grow(p.octets[:0], 4*room)[:4*n]
}

// output is a file being written, tensor by tensor, in pieces.
type output struct {
	store Store
	file  io.Writer
	piece piece
	err   error // the first; the interface of the library has none
}

func (o *output) write(v *graph.Value) error {
	p := &o.piece
	for first, n := range v.Pieces(PieceElements) {
		p.resize(n)
		if err := o.store.ReadAt(v, first, p.program); err != nil {
			return err
		}
		graph.ToCanonical(v, p.canonical, p.program)
		if _, err := binary.Encode(p.octets, binary.LittleEndian, p.canonical); err != nil {
			return err
		}
		if _, err := o.file.Write(p.octets); err != nil {
			return err
		}
	}
	return nil
}

// view is a tensor as the library sees it, which writes the header and asks for the tensors' bytes in the
// header's order.
type view struct {
	value *graph.Value
	*output
}

// DType is the element type in the file.
func (v view) DType() safetensors.DType { return safetensors.F32 }

// Shape is the canonical shape.
func (v view) Shape() []uint64 {
	var s []uint64
	for _, d := range v.value.CanonicalShape() {
		s = append(s, uint64(d))
	}
	return s
}

// DataLen is the size in bytes.
func (v view) DataLen() uint64 { return uint64(v.value.Bytes()) }

// Data writes the tensor to the file, and returns nothing for the library to write: the library would keep
// all of it in memory.
func (v view) Data() []byte {
	if v.err == nil {
		v.err = v.write(v.value)
	}
	return nil
}
