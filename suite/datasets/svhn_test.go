package datasets

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// matElement writes a tag and content, padded.
func matElement(kind uint32, content []byte) []byte {
	out := binary.LittleEndian.AppendUint32(nil, kind)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(content)))
	out = append(out, content...)
	return append(out, make([]byte, (8-len(content)%8)%8)...)
}

// matArray writes an array of numbers of a type, deflated or not.
func matArray(name string, dims []int32, kind uint32, numbers []byte, deflate bool) []byte {
	sizes := []byte{}
	for _, n := range dims {
		sizes = binary.LittleEndian.AppendUint32(sizes, uint32(n))
	}
	label := matElement(matInt8, []byte(name))
	if len(name) <= 4 { // in its tag, as the programs that write such files do
		label = binary.LittleEndian.AppendUint32(nil, uint32(len(name))<<16|matInt8)
		label = append(label, append([]byte(name), make([]byte, 4-len(name))...)...)
	}
	content := slices.Concat(matElement(matUint32, []byte{9, 0, 0, 0, 0, 0, 0, 0}), matElement(matInt32, sizes), label,
		matElement(kind, numbers))
	matrix := matElement(matMatrix, content)
	if !deflate {
		return matrix
	}
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	w.Write(matrix)
	w.Close()
	out := binary.LittleEndian.AppendUint32(nil, matCompressed)
	out = binary.LittleEndian.AppendUint32(out, uint32(packed.Len()))
	return append(out, packed.Bytes()...) // without padding
}

func matFile(variables ...[]byte) []byte {
	header := append([]byte("MATLAB 5.0 MAT-file"), bytes.Repeat([]byte{' '}, 124-19)...)
	return slices.Concat(append(header, 0, 1, 'I', 'M'), slices.Concat(variables...))
}

// svhnImages are n images as a MAT-file has them: pixel (y, x) of plane c of image i is
// svhnPixel(i, c, y, x).
func svhnImages(n int) []byte {
	var out []byte
	for i := range n {
		for c := range 3 {
			for x := range svhnSide {
				for y := range svhnSide {
					out = append(out, svhnPixel(i, c, y, x))
				}
			}
		}
	}
	return out
}

func svhnPixel(i, c, y, x int) byte { return byte(7*i + 85*c + 5*y + x) }

func doubles(xs ...float64) (out []byte) {
	for _, x := range xs {
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(x))
	}
	return out
}

func TestSVHNReads(t *testing.T) {
	const whole = 3
	images := func(deflate bool) []byte {
		return matArray("X", []int32{32, 32, 3, whole}, matUint8, svhnImages(whole), deflate)
	}
	for name, content := range map[string][]byte{
		"deflated, labels as bytes": matFile(images(true), matArray("y", []int32{whole, 1}, matUint8, []byte{1, 10, 9}, true)),
		"plain, labels as doubles":  matFile(images(false), matArray("y", []int32{whole, 1}, matDouble, doubles(1, 10, 9), false)),
		"labels first, another beside": matFile(matArray("y", []int32{1, whole}, matInt16, []byte{1, 0, 10, 0, 9, 0}, true),
			matArray("notes", []int32{1, 1}, matUint8, []byte{7}, false), images(true)),
	} {
		for _, limit := range []int{0, 2, 5} {
			split, err := readSVHN(bytes.NewReader(content), limit, whole)
			if err != nil {
				t.Errorf("%s, limit %d: %v", name, limit, err)
				continue
			}
			n := limited(limit, whole)
			if err := split.check(); err != nil || split.N != n || !slices.Equal(split.Labels, []int32{1, 0, 9}[:n]) {
				t.Errorf("%s, limit %d: got %d samples with labels %v (%v), want %d", name, limit, split.N, split.Labels, err, n)
			}
			for i := range n {
				for _, p := range [][3]int{{0, 0, 0}, {1, 0, 31}, {2, 31, 0}, {0, 17, 5}} {
					if got, want := split.Image(i)[(p[1]*32+p[2])*3+p[0]], svhnPixel(i, p[0], p[1], p[2]); got != want {
						t.Errorf("%s: image %d, plane %d, row %d, column %d: got %d, want %d", name, i, p[0], p[1], p[2], got, want)
					}
				}
			}
		}
	}
}

func TestSVHNDamage(t *testing.T) {
	x := matArray("X", []int32{32, 32, 3, 2}, matUint8, svhnImages(2), true)
	y := matArray("y", []int32{2, 1}, matUint8, []byte{1, 2}, true)
	good := matFile(x, y)
	bent := bytes.Clone(good)
	bent[matHeader+len(x)-1] ^= 0xff // of the checksum
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"no MAT-file":     {[]byte("<html>"), "header: 6 bytes, expected 128 bytes"},
		"another version": {append(bytes.Repeat([]byte{' '}, 124), 0, 2, 'M', 'I'), `expected a MAT-file of level 5`},
		"cut off":         {good[:len(good)-3], "variable"},
		"a bent byte":     {bent, "variable X: damaged data: zlib: invalid checksum"},
		"no labels":       {matFile(x), "2 images and 0 labels"},
		"fewer labels":    {matFile(x, matArray("y", []int32{1, 1}, matUint8, []byte{1}, true)), "variable y: 1 labels, expected 2"},
		"a label of 11": {matFile(x, matArray("y", []int32{2, 1}, matUint8, []byte{1, 11}, true)),
			"label of image 1: 11, expected 1 to 10"},
		"half a label": {matFile(x, matArray("y", []int32{2, 1}, matDouble, doubles(1, 1.5), true)),
			"label of image 1: 1.5, expected 1 to 10"},
		"other images": {matFile(matArray("X", []int32{28, 28, 3, 2}, matUint8, make([]byte, 28*28*6), true), y),
			"expected bytes with dimensions [32 32 3 N]"},
		"numbers missing": {matFile(matArray("X", []int32{32, 32, 3, 9}, matUint8, svhnImages(2), true), y),
			"numbers of variable X: 6144 bytes of type 2, expected 27648 numbers"},
		"a huge dimension": {matFile(matArray("X", []int32{1 << 30, 1 << 30, 3, 9}, matUint8, nil, false)), "dimensions of variable X"},
	} {
		_, err := readSVHN(bytes.NewReader(c.content), 0, 2)
		var damaged *DamagedError
		if !errors.As(err, &damaged) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want a *DamagedError with %q", name, err, c.want)
		}
	}
}

// TestSVHNReal reads what there is of the real files: the first labels of the training set, and what
// cannot be read whole is refused whole.
func TestSVHNReal(t *testing.T) {
	dir := dataDir(t)
	set, err := openSVHN(dir, Options{TrainLimit: 500, TestLimit: 100})
	var missing *MissingError
	if errors.As(err, &missing) {
		t.Skipf("%v: the real files were not tested", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(set.Train.Labels[:10]); got != "[1 9 2 3 2 5 9 3 3 1]" {
		t.Errorf("first labels: got %s, want [1 9 2 3 2 5 9 3 3 1]", got)
	}
	status, err := os.Stat(filepath.Join(dir, svhnFolder, svhnTrain))
	if err != nil {
		t.Fatal(err)
	}
	_, err = openSVHN(dir, Options{})
	var damaged *DamagedError
	if whole := status.Size() == svhn().Archive.Files[0].Bytes; whole != (err == nil) || !whole && !errors.As(err, &damaged) {
		t.Errorf("a file of %d bytes, read to the end: got %v", status.Size(), err)
	}
}

func FuzzReadSVHN(f *testing.F) {
	x := matArray("X", []int32{32, 32, 3, 2}, matUint8, svhnImages(2), true)
	y := matArray("y", []int32{2, 1}, matUint8, []byte{1, 2}, false)
	f.Add(matFile(x, y))
	f.Add(matFile(y))
	f.Add(matFile(x, y)[:150])
	f.Fuzz(func(t *testing.T, content []byte) {
		split, err := readSVHN(bytes.NewReader(content), 1, 2)
		var damaged *DamagedError
		if err != nil && !errors.As(err, &damaged) {
			t.Fatalf("got %v, want nil or a *DamagedError", err)
		}
		if err == nil && split.check() != nil {
			t.Fatalf("no error, and %v", split.check())
		}
	})
}
