package weights

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/bits"
	"os"
	"slices"
	"strings"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/files"
	"github.com/localbench/localbench/suite/networks/exported"
	"github.com/nlpodyssey/safetensors"
)

// file is an open file of tensors: a safetensors file whose header has been read and checked, so that all of its tensors are
// present, or an archive of torch.export.
//
// Note: the library checks a header only with the whole file in memory, and mapped pages count as
// memory of the process, too. So its checks are repeated here.
type file struct {
	*os.File // nil for an archive
	path     string
	close    func() error
	metadata safetensors.Metadata
	tensors  map[string]tensor
	names    []string // of the tensors, in the order in which they lie; sorted for an archive
	data     int64    // where their bytes begin
	piece    piece
}

// tensor is a tensor of a file.
type tensor struct {
	kind   string // F32 and so on
	shape  []uint64
	source string // names with the same one share memory; empty if it is not known
	// open returns the elements in the canonical order.
	open func() (io.ReadCloser, error)
}

// Close closes the file.
func (f *file) Close() error { return f.close() }

// mostHeader is the largest size of a header, as in the library.
const mostHeader = 100_000_000

// maxFileBytes bounds a file of weights: the state of a network of two billion parameters with momentum.
const maxFileBytes = 16 << 30

// open opens a file of tensors and reads what it holds.
func open(path string) (*file, error) {
	if exported.Is(path) {
		return openArchive(path)
	}
	opened, size, err := files.Open(path, maxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	magic := make([]byte, 4)
	if _, err := opened.ReadAt(magic, 0); err == nil && string(magic) == "PK\x03\x04" { // a zip archive of another name
		opened.Close()
		return openArchive(path)
	}
	f := &file{File: opened, path: path, close: opened.Close}
	if err := f.readHeader(opened, size); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: not a complete safetensors file: %w", path, err)
	}
	return f, nil
}

// openArchive is open for an archive of torch.export.
func openArchive(path string) (*file, error) {
	archive, err := exported.OpenWeights(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	f := &file{path: path, close: archive.Close, tensors: map[string]tensor{}, names: slices.Sorted(maps.Keys(archive.Tensors))}
	for name, t := range archive.Tensors {
		shape := make([]uint64, len(t.Shape))
		for i, n := range t.Shape {
			shape[i] = uint64(n)
		}
		f.tensors[name] = tensor{kind: t.Type, shape: shape, source: t.Source, open: t.Open}
	}
	return f, nil
}

// readHeader reads the length of the header and the header of a file of that size: JSON with type, shape and place of each
// tensor.
func (f *file) readHeader(from io.ReaderAt, size int64) error {
	var word [8]byte
	if _, err := from.ReadAt(word[:], 0); errors.Is(err, io.EOF) {
		return fmt.Errorf("it has %d bytes, too few for a header", size)
	} else if err != nil {
		return err
	}
	length, left := binary.LittleEndian.Uint64(word[:]), size-int64(len(word))
	if length > mostHeader || int64(length) > left {
		return fmt.Errorf("the header has %d bytes by its length field: it must have at most %d, the rest of the file, "+
			"and at most %d", length, left, int64(mostHeader))
	}
	header := make([]byte, length)
	if _, err := from.ReadAt(header, int64(len(word))); err != nil {
		return err
	}
	if err := json.Unmarshal(header, &f.metadata); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	f.data = int64(len(word)) + int64(length)
	listed := f.metadata.Tensors()
	if err := f.checkPlaces(listed, uint64(left)-length); err != nil {
		return err
	}
	f.tensors = map[string]tensor{}
	for name, t := range listed {
		place, bytes := f.data+int64(t.DataOffsets[0]), int64(t.DataOffsets[1]-t.DataOffsets[0])
		f.tensors[name] = tensor{kind: t.DType.String(), shape: t.Shape, open: func() (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(from, place, bytes)), nil
		}}
	}
	return nil
}

// checkPlaces checks that the tensors fill that many bytes one after the other, each with the size given by its shape.
func (f *file) checkPlaces(listed map[string]*safetensors.TensorInfo, bytes uint64) error {
	f.names = slices.SortedFunc(maps.Keys(listed), func(a, b string) int {
		x, y := listed[a].DataOffsets, listed[b].DataOffsets
		return cmp.Or(cmp.Compare(x[0], y[0]), cmp.Compare(x[1], y[1]), cmp.Compare(a, b))
	})
	end := uint64(0)
	for _, name := range f.names {
		t := listed[name]
		size, ok := sizeOf(t)
		if from, to := t.DataOffsets[0], t.DataOffsets[1]; !ok || from != end || to < from || to-from != size {
			return fmt.Errorf("%s, %s%v: bytes %d to %d: its type and shape need other bytes, from %d on", name, t.DType, t.Shape,
				from, to, end)
		}
		end = t.DataOffsets[1]
	}
	if end != bytes {
		return fmt.Errorf("%d bytes follow the header, but its tensors have %d", bytes, end)
	}
	return nil
}

// sizeOf returns the bytes of a tensor; false if they are more than can be counted.
func sizeOf(t *safetensors.TensorInfo) (bytes uint64, ok bool) {
	bytes = 1
	for _, d := range append(t.Shape[:len(t.Shape):len(t.Shape)], t.DType.Size()) {
		high, low := bits.Mul64(bytes, d)
		if high != 0 {
			return 0, false
		}
		bytes = low
	}
	return bytes, true
}

// mostFaults is the number of faults of each kind that an error lists.
const mostFaults = 4

// compare lists the first tensors of another shape or type, those that are missing and those that are extra. Extra tensors whose
// name ends in one of passed are ignored, and so are second names of a tensor.
func (f *file) compare(values []*graph.Value, passed ...string) error {
	var shapes, missing, extra []string
	known, sources := map[string]bool{}, map[string]bool{"": false}
	for _, v := range values {
		known[v.Name] = true
		t, there := f.tensors[v.Name]
		want := v.CanonicalShape()
		switch {
		case !there:
			missing = append(missing, fmt.Sprintf("missing %s %v", v.Name, []int64(want)))
		case t.kind != "F32" || !equal(t.shape, want):
			shapes = append(shapes, fmt.Sprintf("%s is %s%v, but must be F32%v", v.Name, t.kind, t.shape, []int64(want)))
		}
		if t.source != "" {
			sources[t.source] = true
		}
	}
	for _, name := range f.names {
		t := f.tensors[name]
		if !known[name] && !sources[t.source] &&
			!slices.ContainsFunc(passed, func(p string) bool { return strings.HasSuffix(name, p) }) {
			extra = append(extra, fmt.Sprintf("extra %s %v", name, t.shape))
		}
	}
	var faults []string
	for _, list := range [][]string{shapes, missing, extra} {
		slices.Sort(list)
		if n := len(list); n > mostFaults {
			word, _, _ := strings.Cut(list[0], " ")
			if word != "missing" && word != "extra" {
				word = "of another shape or type"
			}
			list = append(list[:mostFaults:mostFaults], fmt.Sprintf("%d more %s", n-mostFaults, word))
		}
		faults = append(faults, list...)
	}
	if faults == nil {
		return nil
	}
	return fmt.Errorf("%s does not fit the network: %s", f.path, strings.Join(faults, "; "))
}

func equal(a []uint64, b graph.Shape) bool {
	return slices.EqualFunc(a, b, func(x uint64, y int64) bool { return int64(x) == y })
}

// load reads the tensors into values, which must fit the file.
func (f *file) load(s Store, values []*graph.Value) error {
	for _, v := range values {
		if err := f.loadValue(s, v); err != nil {
			return err
		}
	}
	return nil
}

// loadValue reads one tensor. It reads its file in an archive to the end, where the checksum is compared.
func (f *file) loadValue(s Store, v *graph.Value) error {
	damaged := func(err error) error { return fmt.Errorf("%s: %s: %w", f.path, v.Name, err) }
	t := f.tensors[v.Name]
	r, err := t.open()
	if err != nil {
		return damaged(err)
	}
	defer r.Close()
	p := &f.piece
	for first, n := range v.Pieces(PieceElements) {
		p.resize(n)
		if _, err := io.ReadFull(r, p.octets); err != nil {
			return damaged(err)
		}
		if _, err := binary.Decode(p.octets, binary.LittleEndian, p.canonical); err != nil {
			return damaged(err)
		}
		graph.ToProgram(v, p.program, p.canonical)
		if err := s.WriteAt(v, first, p.program); err != nil {
			return err
		}
	}
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
		return damaged(err)
	}
	return nil
}
