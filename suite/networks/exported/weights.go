package exported

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/localbench/localbench/files"
)

// Weights are the tensors of an archive: the parameters and buffers of the network, by their names in PyTorch. Names that share
// memory have the same Source.
type Weights struct {
	Tensors map[string]Tensor
	file    *os.File
}

// Close closes the file.
func (w *Weights) Close() error { return w.file.Close() }

// Tensor is one tensor of an archive.
type Tensor struct {
	Type   string  // F32, I64 and so on, as safetensors names them
	Shape  []int64 // in PyTorch's order
	Source string  // the file in the archive

	strides  []int64 // in elements
	offset   int64   // of the first element, in elements
	elements int64
	entry    *zip.File
}

// elementTypes are the element types of the schema by their numbers (torch/_export/serde/schema.py).
var elementTypes = map[int]string{1: "U8", 2: "I8", 3: "I16", 4: "I32", 5: "I64", 6: "F16", 7: "F32", 8: "F64", 12: "BOOL",
	13: "BF16"}

// maxElements bounds the elements of a tensor, so that their bytes can be counted.
const maxElements = 1 << 40

// OpenWeights opens the archive at path and lists its tensors. Pickled weights are refused: reading them could run code. The
// error of an archive that can't be read is a *FormatError.
func OpenWeights(path string) (*Weights, error) {
	f, size, err := files.Open(path, maxFile)
	if err != nil {
		return nil, err
	}
	w := &Weights{file: f}
	if w.Tensors, err = readTensors(f, size); err != nil {
		return nil, errors.Join(at(path, err), f.Close())
	}
	return w, nil
}

// weightsText is the JSON of data/weights/model_weights_config.json.
type weightsText struct {
	Config map[string]struct {
		File   string `json:"path_name"`
		Pickle bool   `json:"use_pickle"`
		Meta   struct {
			Type    int      `json:"dtype"`
			Sizes   []symInt `json:"sizes"`
			Strides []symInt `json:"strides"`
			Offset  symInt   `json:"storage_offset"`
			Layout  int      `json:"layout"`
		} `json:"tensor_meta"`
	} `json:"config"`
}

// denseLayout is the number of torch.strided in the schema.
const denseLayout = 7

func readTensors(r io.ReaderAt, size int64) (map[string]Tensor, error) {
	bad := func(format string, arguments ...any) error {
		return &FormatError{Reason: fmt.Sprintf(format, arguments...), Export: true}
	}
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return nil, bad("not a .pt2 archive of torch.export (%v)", err)
	}
	if len(archive.File) > maxEntries {
		return nil, bad("the archive has %d files; at most %d are read", len(archive.File), maxEntries)
	}
	entries, config := map[string]*zip.File{}, ""
	for _, f := range archive.File {
		if f.Name == "data.pkl" || strings.HasSuffix(f.Name, "/data.pkl") {
			return nil, &FormatError{Reason: "pickled weights of torch.save, which are not read, since reading them can run code; " +
				"save them with safetensors.torch.save_file(net.state_dict(), \"net.safetensors\")"}
		}
		if entries[f.Name] = f; path.Base(f.Name) == "model_weights_config.json" && path.Base(path.Dir(f.Name)) == "weights" {
			config = f.Name
		}
		if path.Base(f.Name) == "byteorder" {
			if order, err := readEntry(f); err != nil || strings.TrimSpace(string(order)) != "little" {
				return nil, bad("the weights are not in little-endian byte order")
			}
		}
	}
	if config == "" {
		return nil, bad("the archive holds no weights (data/weights)")
	}
	text, err := readEntry(entries[config])
	if err != nil {
		return nil, bad("%s: %v", config, err)
	}
	var listed weightsText
	if err := decode(text, &listed); err != nil {
		return nil, bad("%s: %v", config, err)
	}
	tensors := map[string]Tensor{}
	for name, c := range listed.Config {
		if c.Pickle {
			return nil, bad("the weights of %s are pickled, which are not read, since reading them can run code; "+
				"weights of ordinary tensors are not pickled", name)
		}
		t := Tensor{Type: elementTypes[c.Meta.Type], Shape: symInts(c.Meta.Sizes), Source: path.Join(path.Dir(config), c.File),
			strides: symInts(c.Meta.Strides), offset: symInts([]symInt{c.Meta.Offset})[0]}
		if t.entry = entries[t.Source]; t.entry == nil {
			return nil, bad("the archive lists %s, but does not hold its file %s: the weights were left out", name, t.Source)
		}
		if t.Type == "" {
			t.Type = fmt.Sprintf("type %d", c.Meta.Type)
		}
		if why := t.check(c.Meta.Layout); why != "" {
			return nil, bad("the weights of %s: %s", name, why)
		}
		tensors[name] = t
	}
	return tensors, nil
}

// check says what is wrong with the description of a tensor; empty if nothing is.
func (t *Tensor) check(layout int) string {
	if layout != denseLayout || len(t.strides) != len(t.Shape) || t.offset < 0 {
		return "not a dense tensor"
	}
	elements, last := int64(1), t.offset
	for i, n := range t.Shape {
		stride := t.strides[i]
		if n < 1 || n > maxElements/elements || stride < 0 || n > 1 && stride > (maxElements-last)/(n-1) {
			return fmt.Sprintf("the shape %v with strides %v can't be read", t.Shape, t.strides)
		}
		elements *= n
		last += (n - 1) * stride
	}
	t.elements = elements
	if last-t.offset+1 != elements {
		return fmt.Sprintf("a view of a larger tensor (shape %v, strides %v), which is not read; export contiguous weights",
			t.Shape, t.strides)
	}
	if have := t.entry.UncompressedSize64; t.Type == "F32" && have/4 <= uint64(last) {
		return fmt.Sprintf("%s has %d bytes, too few for the shape %v", t.Source, have, t.Shape)
	}
	return ""
}

// Open returns a reader of the elements in the order of the shape, little-endian. A tensor that lies in memory in another order,
// as torch.channels_last has it, is read as a whole. Only tensors of type F32 can be read. At the end of its file the reader
// compares the checksum of the archive.
func (t *Tensor) Open() (io.ReadCloser, error) {
	r, err := t.entry.Open()
	if err == nil {
		_, err = io.CopyN(io.Discard, r, 4*t.offset)
	}
	if err != nil || t.contiguous() {
		return r, err
	}
	defer r.Close()
	storage := make([]byte, 4*t.elements)
	if _, err := io.ReadFull(r, storage); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) { // a wrong checksum
		return nil, err
	}
	out, index := make([]byte, 0, len(storage)), make([]int64, len(t.Shape))
	for range t.elements {
		from := int64(0)
		for i, x := range index {
			from += x * t.strides[i]
		}
		out = append(out, storage[4*from:4*from+4]...)
		for i := len(index) - 1; i >= 0; i-- {
			if index[i]++; index[i] < t.Shape[i] {
				break
			}
			index[i] = 0
		}
	}
	return io.NopCloser(bytes.NewReader(out)), nil
}

// contiguous reports whether the elements lie in the order of the shape.
func (t *Tensor) contiguous() bool {
	stride := int64(1)
	for i := len(t.Shape) - 1; i >= 0; i-- {
		if t.Shape[i] > 1 && t.strides[i] != stride {
			return false
		}
		stride *= t.Shape[i]
	}
	return true
}
