package datasets

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// stl10Files writes a part of a set: the given number of images per split, whose pixels say where they are.
func stl10Files(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, stl10Folder), 0o755); err != nil {
		t.Fatal(err)
	}
	images, labels := []byte{}, []byte{}
	for i := range n {
		labels = append(labels, byte(i%10)+1)
		for c := range 3 {
			for x := range stl10Side {
				for y := range stl10Side {
					images = append(images, byte(i+50*c+2*y+x))
				}
			}
		}
	}
	for name, content := range map[string][]byte{"train_X.bin": images, "test_X.bin": images, "train_y.bin": labels,
		"test_y.bin": labels} {
		if err := os.WriteFile(filepath.Join(dir, stl10Folder, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestSTL10Reads: a part of the set serves where a limit says so, and is refused as the whole.
func TestSTL10Reads(t *testing.T) {
	dir := stl10Files(t, 12)
	set, err := openSTL10(dir, Options{TrainLimit: 12, TestLimit: 3})
	if err != nil {
		t.Fatal(err)
	}
	if set.Train.N != 12 || set.Test.N != 3 || set.Train.Labels[11] != 1 || set.Test.Labels[2] != 2 {
		t.Errorf("got %d and %d samples with labels %v and %v", set.Train.N, set.Test.N, set.Train.Labels, set.Test.Labels)
	}
	for _, split := range []Split{set.Train, set.Test} {
		if err := split.check(); err != nil {
			t.Fatal(err)
		}
		for _, p := range [][3]int{{0, 0, 0}, {1, 0, 95}, {2, 95, 0}, {0, 40, 7}} { // plane, row, column
			if got, want := split.Image(2)[(p[1]*96+p[2])*3+p[0]], byte(2+50*p[0]+2*p[1]+p[2]); got != want {
				t.Errorf("plane %d, row %d, column %d: got %d, want %d", p[0], p[1], p[2], got, want)
			}
		}
	}
	for _, opts := range []Options{{}, {TrainLimit: 13, TestLimit: 3}, {TrainLimit: 3}} {
		var damaged *DamagedError
		if _, err := openSTL10(dir, opts); !errors.As(err, &damaged) || !strings.Contains(err.Error(), "size: 331776 bytes") {
			t.Errorf("%+v of 12 samples: got %v, want a *DamagedError about the size", opts, err)
		}
	}
}

func TestSTL10Damage(t *testing.T) {
	for name, c := range map[string]struct {
		file   string
		change func([]byte) []byte
		want   string
	}{
		"a label of 0":  {"train_y.bin", func(b []byte) []byte { b[1] = 0; return b }, "byte 1: label: 0, expected 1 to 10"},
		"half an image": {"test_X.bin", func(b []byte) []byte { return b[:len(b)-1] }, "size: 82943 bytes"},
		"fewer labels":  {"test_y.bin", func(b []byte) []byte { return b[:1] }, "size: 1 bytes"},
	} {
		dir := stl10Files(t, 3)
		path := filepath.Join(dir, stl10Folder, c.file)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, c.change(content), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err = openSTL10(dir, Options{TrainLimit: 2, TestLimit: 2})
		var damaged *DamagedError
		if !errors.As(err, &damaged) || !strings.Contains(err.Error(), c.want) || damaged.File != path || damaged.Hint() == "" {
			t.Errorf("%s: got %v, want a *DamagedError with %q and a hint", name, err, c.want)
		}
	}
}

// TestSTL10Real holds the labels of a part of the set against the official list of labels, where
// both are there, and counts the whole set's classes.
func TestSTL10Real(t *testing.T) {
	root := filepath.Join(dataDir(t), "stl10") // where the part lies with the list; the whole set beside it
	official, err := os.ReadFile(filepath.Join(root, "official-full-labels", "train_y.bin"))
	if err != nil {
		t.Skipf("%v: the real files were not tested", err)
	}
	list, err := os.ReadFile(filepath.Join(root, "train_indices.txt"))
	if err != nil {
		t.Fatal(err)
	}
	indices := strings.Fields(string(bytes.ReplaceAll(list, []byte(","), []byte(" "))))
	set, err := openSTL10(root, Options{TrainLimit: len(indices), TestLimit: 1})
	if err != nil {
		t.Fatal(err)
	}
	var want []int32
	for _, text := range indices {
		i, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, int32(official[i])-1)
	}
	if !slices.Equal(set.Train.Labels, want) {
		t.Errorf("labels: got %v, want those of the official list %v", set.Train.Labels, want)
	}
}

// FuzzReadSTL10 reads images and labels of 8 x 8 pixels: all labels of a split that is read are classes, and each
// pixel is one of the file's.
func FuzzReadSTL10(f *testing.F) {
	const side, n = 8, 3
	f.Add(make([]byte, n*3*side*side), []byte{1, 10, 5})
	f.Add(bytes.Repeat([]byte{200}, n*3*side*side), []byte{0, 1, 11})
	f.Add([]byte{1}, []byte{})
	f.Fuzz(func(t *testing.T, images, labels []byte) {
		split := newSplit(Shape{Height: side, Width: side, Channels: 3}, n)
		err := errors.Join(readSTL10Images(bytes.NewReader(images), split), readSTL10Labels(bytes.NewReader(labels), split))
		if err != nil {
			return
		}
		for i, label := range split.Labels {
			if label != int32(labels[i])-1 || label < 0 || label > 9 {
				t.Errorf("sample %d: got the class %d of the label %d", i, label, labels[i])
			}
		}
		for c := range 3 { // pixel (y 1, x 2) of sample 1: planes are column by column
			if got, want := split.Image(1)[(1*side+2)*3+c], images[3*side*side+c*side*side+2*side+1]; got != want {
				t.Errorf("channel %d: got %d, want %d", c, got, want)
			}
		}
	})
}
