package exported

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"testing"
)

// oneTensor is the list of the weights of an archive with one tensor.
func oneTensor(meta string) string {
	return `{"config":{"c.weight":{"path_name":"weight_0","is_param":true,"use_pickle":false,"tensor_meta":` + meta + `}}}`
}

const (
	listPath = "net/data/weights/model_weights_config.json"
	rawPath  = "net/data/weights/weight_0"
	// flat is a tensor [2, 3].
	flat = `{"dtype":7,"layout":7,"sizes":[{"as_int":2},{"as_int":3}],"strides":[{"as_int":3},{"as_int":1}],` +
		`"storage_offset":{"as_int":0}}`
)

// floats are the bytes 0, 1, ... as float32.
func floats(n int) string {
	var b []byte
	for i := range n {
		bits := math.Float32bits(float32(i))
		b = append(b, byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24))
	}
	return string(b)
}

func readTensor(t *testing.T, w *Weights, name string) []byte {
	t.Helper()
	tensor := w.Tensors[name]
	r, err := tensor.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestWeightsInTheOrderOfTheShape(t *testing.T) {
	column := strings.Replace(flat, `[{"as_int":3},{"as_int":1}]`, `[{"as_int":1},{"as_int":2}]`, 1)
	later := strings.Replace(flat, `"storage_offset":{"as_int":0}`, `"storage_offset":{"as_int":2}`, 1)
	for name, c := range map[string]struct {
		meta string
		want [6]byte // the elements
	}{"rows": {flat, [6]byte{0, 1, 2, 3, 4, 5}}, "columns": {column, [6]byte{0, 2, 4, 1, 3, 5}},
		"an offset": {later, [6]byte{2, 3, 4, 5, 6, 7}}} {
		w, err := OpenWeights(write(t, archive(t, map[string]string{listPath: oneTensor(c.meta), rawPath: floats(8)})))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		content := readTensor(t, w, "c.weight")
		all := floats(8)
		for i, x := range c.want {
			if !bytes.Equal(content[4*i:4*i+4], []byte(all[4*int(x):4*int(x)+4])) {
				t.Errorf("%s: element %d: got the bytes %v, want those of %d", name, i, content[4*i:4*i+4], x)
			}
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestWeightsRefused(t *testing.T) {
	meta := func(old, new string) string { return oneTensor(strings.Replace(flat, old, new, 1)) }
	for _, c := range []struct {
		name    string
		entries map[string]string
		want    string
	}{
		{"no weights", map[string]string{"net/models/model.json": smallGraph}, "the archive holds no weights (data/weights)"},
		{"weights left out", map[string]string{listPath: oneTensor(flat)},
			"does not hold its file " + rawPath + ": the weights were left out"},
		{"pickled", map[string]string{listPath: strings.Replace(oneTensor(flat), "false", "true", 1), rawPath: floats(6)},
			"the weights of c.weight are pickled, which are not read, since reading them can run code"},
		{"torch.save", map[string]string{"net/data.pkl": "x"}, "pickled weights of torch.save, which are not read"},
		{"big-endian", map[string]string{listPath: oneTensor(flat), rawPath: floats(6), "net/byteorder": "big"},
			"not in little-endian"},
		{"too few bytes", map[string]string{listPath: oneTensor(flat), rawPath: floats(5)},
			"has 20 bytes, too few for the shape [2 3]"},
		{"a view", map[string]string{listPath: meta(`[{"as_int":3},{"as_int":1}]`, `[{"as_int":4},{"as_int":1}]`), rawPath: floats(9)},
			"a view of a larger tensor"},
		{"expanded", map[string]string{listPath: meta(`[{"as_int":3},{"as_int":1}]`, `[{"as_int":0},{"as_int":1}]`),
			rawPath: floats(9)}, "a view of a larger tensor"},
		{"an absurd shape",
			map[string]string{listPath: meta(`[{"as_int":2},{"as_int":3}]`, `[{"as_int":9223372036854775807},{"as_int":3}]`),
				rawPath: floats(6)}, "can't be read"},
		{"a negative offset", map[string]string{listPath: meta(`"storage_offset":{"as_int":0}`, `"storage_offset":{"as_int":-1}`),
			rawPath: floats(6)}, "not a dense tensor"},
		{"sparse", map[string]string{listPath: meta(`"layout":7`, `"layout":1`), rawPath: floats(6)}, "not a dense tensor"},
		{"no JSON", map[string]string{listPath: "{", rawPath: floats(6)}, "JSON"},
	} {
		w, err := OpenWeights(write(t, archive(t, c.entries)))
		var format *FormatError
		if !errors.As(err, &format) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "net.pt2") {
			t.Errorf("%s: got %v, %v, want a *FormatError with the path and %q", c.name, w, err, c.want)
		}
	}
}

// TestWeightsChecksum changes a bit of a tensor; the archive has its checksum.
func TestWeightsChecksum(t *testing.T) {
	content, err := os.ReadFile("testdata/weights.pt2")
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(content, []byte("data/weights/weight_2")) + 40
	content[at] ^= 1
	w, err := OpenWeights(write(t, content))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	failed := 0
	for _, tensor := range w.Tensors {
		r, err := tensor.Open()
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			r.Close()
		}
		if err != nil {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("got %d tensors that can't be read, want 1", failed)
	}
}

// FuzzWeights gives any list of weights to the reader: it returns readable tensors, or an error.
func FuzzWeights(f *testing.F) {
	f.Add(oneTensor(flat), floats(6))
	f.Add(oneTensor(strings.Replace(flat, `"as_int":2`, `"as_int":1000000000000`, 1)), "")
	f.Add(oneTensor(strings.Replace(flat, `[{"as_int":3},{"as_int":1}]`, `[{"as_int":1},{"as_int":2}]`, 1)), floats(6))
	f.Fuzz(func(t *testing.T, list, raw string) {
		content := archive(t, map[string]string{listPath: list, rawPath: raw})
		tensors, err := readTensors(bytes.NewReader(content), int64(len(content)))
		var format *FormatError
		if err != nil {
			if !errors.As(err, &format) {
				t.Fatalf("got %v, want a *FormatError", err)
			}
			return
		}
		for name, tensor := range tensors {
			if tensor.Type != "F32" {
				continue
			}
			r, err := tensor.Open()
			if err != nil {
				t.Fatalf("%q: %v", name, err)
			}
			n, err := io.Copy(io.Discard, r)
			if err != nil || n < 4*tensor.elements {
				t.Fatalf("%q: got %d bytes, %v, want %d elements", name, n, err, tensor.elements)
			}
		}
	})
}
