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
	"github.com/nlpodyssey/safetensors"
)

// file is an open safetensors file whose header has been read and checked: all of its tensors are present.
//
// Note: the library checks a header only with the whole file in memory, and mapped pages count as
// memory of the process, too. So its checks are repeated here.
type file struct {
	*os.File
	metadata safetensors.Metadata
	tensors  map[string]*safetensors.TensorInfo
	names    []string // of the tensors, in the order in which they lie
	data     int64    // where their bytes begin
	piece    piece
}

// mostHeader is the largest size of a header, as in the library.
const mostHeader = 100_000_000

// maxFileBytes bounds a file of weights: the state of a network of two billion parameters with momentum.
const maxFileBytes = 16 << 30

// open opens a file and reads its header.
func open(path string) (*file, error) {
	opened, size, err := files.Open(path, maxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	f := &file{File: opened}
	if err := f.readHeader(opened, size); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: not a complete safetensors file: %w", path, err)
	}
	return f, nil
}

// readHeader reads the length of the header and the header of a file of that size: JSON with type, shape and place of each tensor.
func (f *file) readHeader(from io.ReaderAt, size int64) error {
	var word [8]byte
	if _, err := from.ReadAt(word[:], 0); errors.Is(err, io.EOF) {
		return fmt.Errorf("it has %d bytes, too few for a header", size)
	} else if err != nil {
		return err
	}
	length, left := binary.LittleEndian.Uint64(word[:]), size-int64(len(word))
	if length > mostHeader || int64(length) > left {
		return fmt.Errorf("the header has %d bytes by its length field: it must have at most %d, the rest of the file, and at most %d", length, left, int64(mostHeader))
	}
	header := make([]byte, length)
	if _, err := from.ReadAt(header, int64(len(word))); err != nil {
		return err
	}
	if err := json.Unmarshal(header, &f.metadata); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	f.tensors, f.data = f.metadata.Tensors(), int64(len(word))+int64(length)
	return f.checkPlaces(uint64(left) - length)
}

// checkPlaces checks that the tensors fill that many bytes one after the other, each with the size given by its shape.
func (f *file) checkPlaces(bytes uint64) error {
	f.names = slices.SortedFunc(maps.Keys(f.tensors), func(a, b string) int {
		x, y := f.tensors[a].DataOffsets, f.tensors[b].DataOffsets
		return cmp.Or(cmp.Compare(x[0], y[0]), cmp.Compare(x[1], y[1]), cmp.Compare(a, b))
	})
	end := uint64(0)
	for _, name := range f.names {
		t := f.tensors[name]
		size, ok := sizeOf(t)
		if from, to := t.DataOffsets[0], t.DataOffsets[1]; !ok || from != end || to < from || to-from != size {
			return fmt.Errorf("%s, %s%v: bytes %d to %d: its type and shape need other bytes, from %d on", name, t.DType, t.Shape, from, to, end)
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

// compare lists tensors that are missing, unknown or of another shape; tensors whose name ends in one of passed are ignored.
func (f *file) compare(values []*graph.Value, passed ...string) error {
	var faults []string
	known := map[string]bool{}
	for _, v := range values {
		known[v.Name] = true
		t, want := f.tensors[v.Name], v.CanonicalShape()
		switch {
		case t == nil:
			faults = append(faults, "missing "+v.Name)
		case t.DType != safetensors.F32 || !equal(t.Shape, want):
			faults = append(faults, fmt.Sprintf("%s is %s%v, but must be F32%v", v.Name, t.DType, t.Shape, []int64(want)))
		}
	}
	for _, name := range f.names {
		if !known[name] && !slices.ContainsFunc(passed, func(p string) bool { return strings.HasSuffix(name, p) }) {
			faults = append(faults, "extra "+name)
		}
	}
	if faults == nil {
		return nil
	}
	slices.Sort(faults)
	return fmt.Errorf("%s does not fit the network: %s", f.Name(), strings.Join(faults, "; "))
}

func equal(a []uint64, b graph.Shape) bool {
	return slices.EqualFunc(a, b, func(x uint64, y int64) bool { return int64(x) == y })
}

// load reads the tensors into values, which must fit the file.
func (f *file) load(s Store, values []*graph.Value) error {
	p := &f.piece
	for _, v := range values {
		place := f.data + int64(f.tensors[v.Name].DataOffsets[0])
		for first, n := range v.Pieces(PieceElements) {
			p.resize(n)
			if _, err := f.ReadAt(p.octets, place+4*first); err != nil {
				return fmt.Errorf("%s: %s: %w", f.Name(), v.Name, err)
			}
			if _, err := binary.Decode(p.octets, binary.LittleEndian, p.canonical); err != nil {
				return fmt.Errorf("%s: %s: %w", f.Name(), v.Name, err)
			}
			graph.ToProgram(v, p.program, p.canonical)
			if err := s.WriteAt(v, first, p.program); err != nil {
				return err
			}
		}
	}
	return nil
}
