package weights_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/suite/weights"
	"github.com/nlpodyssey/safetensors"
)

// isWhole tells whether a file with that content is read as a safetensors file, whatever is in it.
func isWhole(t testing.TB, content []byte) (bool, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	err := weights.CheckModel(path, nil)
	if err != nil && !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want it to name %s", err, path)
	}
	return err == nil || !strings.Contains(err.Error(), "not a complete safetensors file"), err
}

// agree wants the verdict of the library, which has the whole file in memory.
func agree(t testing.TB, content []byte) {
	t.Helper()
	_, want := safetensors.Deserialize(content)
	if got, err := isWhole(t, content); got != (want == nil) {
		t.Errorf("%q: got %v, the library %v", content[:min(len(content), 400)], err, want)
	}
}

func goldenContent(t testing.TB) []byte {
	t.Helper()
	content, err := os.ReadFile("testdata/golden.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestCutFiles cuts a file at every length, and makes it longer.
func TestCutFiles(t *testing.T) {
	content := goldenContent(t)
	for n := range content {
		if got, _ := isWhole(t, content[:n]); got {
			t.Errorf("the first %d of %d bytes were taken for a file", n, len(content))
		}
		agree(t, content[:n])
	}
	if got, err := isWhole(t, content); !got {
		t.Error(err)
	}
	if got, _ := isWhole(t, append(slices.Clone(content), 0)); got {
		t.Error("a byte too many was passed over")
	}
}

// TestChangedHeaders changes each byte of the header.
func TestChangedHeaders(t *testing.T) {
	content := goldenContent(t)
	for i := range 8 + binary.LittleEndian.Uint64(content) {
		changed := slices.Clone(content)
		for _, to := range []byte{0, '1', '9', '"', ']', 0xff} {
			changed[i] = to
			agree(t, changed)
		}
	}
}

// TestBadHeaders says what is wrong with places, types and shapes.
func TestBadHeaders(t *testing.T) {
	tensor := func(dtype, shape string, from, to uint64) string {
		return fmt.Sprintf(`{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, dtype, shape, from, to)
	}
	for _, c := range []struct{ name, header, want string }{ // before 8 bytes
		{"all is well", `{"a":` + tensor("F32", "[2]", 0, 8) + `}`, ""},
		{"a tensor of nothing", `{"a":` + tensor("F32", "[4611686018427387904,0]", 0, 0) + `,"b":` + tensor("I64", "[]", 0, 8) + `}`,
			""},
		{"a hole", `{"a":` + tensor("F32", "[1]", 0, 4) + `,"b":` + tensor("U8", "[3]", 5, 8) + `}`,
			"b, U8[3]: bytes 5 to 8: its type and shape need other bytes, from 4 on"},
		{"two in one place", `{"a":` + tensor("F32", "[2]", 0, 8) + `,"b":` + tensor("F32", "[2]", 0, 8) + `}`,
			"b, F32[2]: bytes 0 to 8: its type and shape need other bytes, from 8 on"},
		{"fewer bytes than the shape says", `{"a":` + tensor("F32", "[3]", 0, 8) + `}`, "a, F32[3]: bytes 0 to 8"},
		{"bytes of none", `{"a":` + tensor("F32", "[1]", 0, 4) + `}`, "8 bytes follow the header, but its tensors have 4"},
		{"an end beyond the file's", `{"a":` + tensor("F32", "[9]", 0, 36) + `}`, "but its tensors have 36"},
		{"an end before the start", `{"a":` + tensor("F32", "[2]", 0, 8) + `,"b":` + tensor("F32", "[1]", 8, 4) + `}`,
			"b, F32[1]: bytes 8 to 4"},
		{"more elements than can be counted", `{"a":` + tensor("F32", "[4294967296,4294967296,4294967296]", 0, 8) + `}`,
			"a, F32[4294967296 4294967296 4294967296]"},
		{"an unknown type", `{"a":` + tensor("F31", "[2]", 0, 8) + `}`, "F31"},
		{"no JSON", `{"a":`, "header: "},
		{"another JSON", `[1,2]`, "header: "},
	} {
		content := append(binary.LittleEndian.AppendUint64(nil, uint64(len(c.header))), c.header...)
		content = append(content, make([]byte, 8)...)
		got, err := isWhole(t, content)
		if got != (c.want == "") || !got && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
		agree(t, content)
	}
	for _, length := range []uint64{33, 100_000_001, 1 << 63, 1<<64 - 1} {
		if _, err := isWhole(t, append(binary.LittleEndian.AppendUint64(nil, length), make([]byte, 32)...)); err == nil ||
			!strings.Contains(err.Error(), fmt.Sprintf("the header has %d bytes by its length field: it must have at most 32", length)) {
			t.Errorf("a header of %d bytes in 32: got %v", length, err)
		}
	}
	if err := weights.CheckModel(t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a folder: got %v", err)
	}
}

// FuzzHeader has the library judge, too.
func FuzzHeader(f *testing.F) {
	f.Add(goldenContent(f)[:8])
	for _, header := range []string{
		`{}`,
		`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`,
		`{"__metadata__":{"k":"v"},"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},
			"b":{"dtype":"I64","shape":[0],"data_offsets":[1,1]}}`,
		`{"a":{"dtype":"F31","shape":[4294967296,4294967296],"data_offsets":[0,18446744073709551615]}}`,
	} {
		content := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
		f.Add(content)
		f.Add(append(content, make([]byte, 8)...))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		_, want := safetensors.Deserialize(content)
		if got := weights.CheckHeader(content); (got == nil) != (want == nil) {
			t.Errorf("%q: got %v, the library %v", content[:min(len(content), 400)], got, want)
		}
	})
}

// shrinking is a store that cuts the file off when the first piece of it has been read.
type shrinking struct {
	memory
	path string
}

func (s shrinking) WriteAt(v *graph.Value, first int64, src any) error {
	if err := os.Truncate(s.path, 100); err != nil {
		return err
	}
	return s.memory.WriteAt(v, first, src)
}

// TestShrinkingFile loses a file's end while it is read.
func TestShrinkingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w")
	if err := os.WriteFile(path, goldenContent(t), 0o600); err != nil {
		t.Fatal(err)
	}
	values, _ := golden()
	err := weights.LoadModel(path, shrinking{memory{}, path}, values)
	if err == nil || !strings.Contains(err.Error(), path+": "+values[1].Name) {
		t.Errorf("got %v, want an error with the file and the second value's name", err)
	}
}
