package datasets

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The sizes of CIFAR-10, as its page states them.
const (
	cifar10Records = 10000
	cifar10Record  = 3073
	cifar10Size    = cifar10Records * cifar10Record
)

// cifarFile makes a good file; its records differ by file and by place.
func cifarFile(file int) []byte {
	content := make([]byte, cifar10Size)
	for r := range cifar10Records {
		record := content[r*cifar10Record : (r+1)*cifar10Record]
		record[0] = byte((r + file) % 10)
		record[1], record[1+cifarPlane], record[1+2*cifarPlane] = byte(r), byte(r>>8), byte(file)
		record[cifar10Record-1] = byte(r % 251)
	}
	return content
}

// cifarFolder writes a set into a fresh data folder; change may damage a file.
func cifarFolder(t *testing.T, change func(name string, content []byte) []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, cifar10Files.folder), 0o755); err != nil {
		t.Fatal(err)
	}
	for k, name := range append(cifar10Files.train, cifar10Files.test) {
		content := cifarFile(k)
		if change != nil {
			content = change(name, content)
		}
		if content == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, cifar10Files.folder, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCIFAR10Reads(t *testing.T) {
	dir := cifarFolder(t, nil)
	for _, c := range []struct {
		name        string
		opts        Options
		train, test int
	}{
		{"all", Options{}, 50000, 10000},
		{"limits inside the first file", Options{TrainLimit: 7, TestLimit: 3}, 7, 3},
		{"a limit at the end of a file", Options{TrainLimit: 10000, TestLimit: 1}, 10000, 1},
		{"a limit inside the third file", Options{TrainLimit: 20001, TestLimit: 9999}, 20001, 9999},
		{"limits beyond the set", Options{TrainLimit: 60000, TestLimit: 60000}, 50000, 10000},
	} {
		t.Run(c.name, func(t *testing.T) {
			set, err := cifar10Files.open(dir, cifar10Card(), c.opts)
			if err != nil {
				t.Fatal(err)
			}
			if set.Train.N != c.train || set.Test.N != c.test {
				t.Fatalf("samples: got %d and %d, want %d and %d", set.Train.N, set.Test.N, c.train, c.test)
			}
			for _, split := range []Split{set.Train, set.Test} {
				if err := split.check(); err != nil {
					t.Fatal(err)
				}
			}
			for _, sample := range []int{0, c.train / 2, c.train - 1} {
				checkCIFARSample(t, set.Train, sample, sample/cifar10Records)
			}
			checkCIFARSample(t, set.Test, c.test-1, 5)
		})
	}
}

// checkCIFARSample holds a sample against what cifarFile wrote.
func checkCIFARSample(t *testing.T, split Split, sample, file int) {
	t.Helper()
	r := sample % cifar10Records
	if want := int32((r + file) % 10); split.Labels[sample] != want {
		t.Errorf("sample %d: label: got %d, want %d", sample, split.Labels[sample], want)
	}
	image := split.Image(sample)
	if want := []byte{byte(r), byte(r >> 8), byte(file)}; !bytes.Equal(image[:3], want) {
		t.Errorf("sample %d: first pixel: got %v, want %v", sample, image[:3], want)
	}
	if want := []byte{0, 0, byte(r % 251)}; !bytes.Equal(image[len(image)-3:], want) {
		t.Errorf("sample %d: last pixel: got %v, want %v", sample, image[len(image)-3:], want)
	}
}

func TestCIFAR10Damage(t *testing.T) {
	const bad = 4321
	for _, c := range []struct {
		name   string
		file   string
		change func([]byte) []byte
		opts   Options
		want   []string // parts of the error; none for no error
		offset int64
	}{
		{
			"a file that is cut off", "data_batch_3.bin", func(b []byte) []byte { return b[:cifar10Size-5] }, Options{},
			[]string{"data_batch_3.bin", "byte 30729995", "size: 30729995 bytes, expected 30730000 bytes"}, cifar10Size - 5,
		},
		{
			"an empty file", "data_batch_1.bin", func([]byte) []byte { return []byte{} }, Options{},
			[]string{"data_batch_1.bin", "0 bytes, expected 30730000 bytes"}, 0,
		},
		{
			"a file that is too long, and not even read", "test_batch.bin", func(b []byte) []byte { return append(b, 1) },
			Options{TestLimit: 1}, []string{"test_batch.bin", "30730001 bytes, expected 30730000 bytes"}, cifar10Size,
		},
		{
			"a label out of range", "data_batch_2.bin",
			func(b []byte) []byte { b[bad*cifar10Record] = 10; return b }, Options{},
			[]string{"data_batch_2.bin", "byte 13278433", "label of record 4321: 10, expected 0 to 9"}, bad * cifar10Record,
		},
		{
			"a label out of range after the limit", "data_batch_2.bin",
			func(b []byte) []byte { b[bad*cifar10Record] = 10; return b }, Options{TrainLimit: cifar10Records + bad}, nil, 0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := cifarFolder(t, func(name string, content []byte) []byte {
				if name == c.file {
					return c.change(content)
				}
				return content
			})
			_, err := cifar10Files.open(dir, cifar10Card(), c.opts)
			if len(c.want) == 0 {
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			var damaged *DamagedError
			if !errors.As(err, &damaged) {
				t.Fatalf("got %v, want a *DamagedError", err)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %q, want %q in it", err, part)
				}
			}
			if damaged.Offset != c.offset || !strings.Contains(damaged.Hint(), cifar10Files.url) {
				t.Errorf("got offset %d, hint %q, want offset %d and the address", damaged.Offset, damaged.Hint(), c.offset)
			}
		})
	}
}

func TestCIFAR10MissingFile(t *testing.T) {
	dir := cifarFolder(t, func(name string, content []byte) []byte {
		if name == "data_batch_4.bin" {
			return nil
		}
		return content
	})
	_, err := cifar10Files.open(dir, cifar10Card(), Options{TrainLimit: 1, TestLimit: 1})
	var missing *MissingError
	if !errors.As(err, &missing) || filepath.Base(missing.Want) != "data_batch_4.bin" {
		t.Errorf("got %v, want a *MissingError for data_batch_4.bin", err)
	}
}

func TestCIFAR10FolderInPlaceOfFile(t *testing.T) {
	dir := cifarFolder(t, func(name string, content []byte) []byte {
		if name == "test_batch.bin" {
			return nil
		}
		return content
	})
	if err := os.Mkdir(filepath.Join(dir, cifar10Files.folder, "test_batch.bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := cifar10Files.open(dir, cifar10Card(), Options{}); err == nil ||
		!strings.Contains(err.Error(), "must be a regular file") {
		t.Errorf("got %v, want an error about a regular file", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the disk is gone") }

func TestCIFAR10ReadError(t *testing.T) {
	err := cifar10Files.read(brokenReader{}, newSplit(cifar10Card().Shape, 1))
	var damaged *DamagedError
	if err == nil || errors.As(err, &damaged) || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("got %v, want the reader's error and no *DamagedError", err)
	}
}

// TestCIFAR10Real holds the files of this machine against what is published:
// 5000 and 1000 images a class, and the mean and deviation of the recipe.
func TestCIFAR10Real(t *testing.T) {
	set, err := cifar10Files.open(dataDir(t), cifar10Card(), Options{})
	var missing *MissingError
	if errors.As(err, &missing) {
		t.Skipf("%v: the real files were not tested", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		split Split
		want  int
	}{{set.Train, 5000}, {set.Test, 1000}} {
		counts := make([]int, set.Classes)
		for _, label := range c.split.Labels {
			counts[label]++
		}
		for class, n := range counts {
			if n != c.want {
				t.Errorf("%s: got %d of %d images, want %d", set.ClassNames[class], n, c.split.N, c.want)
			}
		}
	}
	// The first training images are a frog and two trucks.
	if got := fmt.Sprint(set.Train.Labels[:3]); got != "[6 9 9]" {
		t.Errorf("first labels: got %s, want [6 9 9]", got)
	}
	mean, std := moments(set.Train)
	for c := range set.Channels {
		// The recipe's figures are rounded to a tenth, and its deviations are
		// cut rather than rounded.
		if math.Abs(mean[c]-set.Mean[c]) > 0.1 || math.Abs(std[c]-set.Std[c]) > 0.1 {
			t.Errorf("channel %d: got mean %.2f, deviation %.2f, want %.1f, %.1f", c, mean[c], std[c], set.Mean[c], set.Std[c])
		}
	}
}

// moments is the mean and standard deviation of each channel.
func moments(split Split) (mean, std []float64) {
	sums, squares := make([]int, split.Channels), make([]int, split.Channels)
	for i, p := range split.Images {
		sums[i%split.Channels] += int(p)
		squares[i%split.Channels] += int(p) * int(p)
	}
	n := float64(len(split.Images) / split.Channels)
	for c := range sums {
		m := float64(sums[c]) / n
		mean = append(mean, m)
		std = append(std, math.Sqrt(float64(squares[c])/n-m*m))
	}
	return mean, std
}

func FuzzReadCIFAR10(f *testing.F) {
	good := make([]byte, 2*cifar10Record)
	good[0], good[cifar10Record], good[cifar10Record+1] = 3, 9, 200
	bad := bytes.Clone(good)
	bad[cifar10Record] = 10
	f.Add(good, uint8(2))
	f.Add(bad, uint8(2))
	f.Add(good[:cifar10Record+1], uint8(2))
	f.Add([]byte{}, uint8(1))
	f.Fuzz(func(t *testing.T, content []byte, records uint8) {
		n := int(records % 4)
		split := newSplit(cifar10Card().Shape, n)
		err := cifar10Files.read(bytes.NewReader(content), split)
		var damaged *DamagedError
		if err != nil && !errors.As(err, &damaged) {
			t.Fatalf("got %v, want nil or a *DamagedError", err)
		}
		if err != nil {
			checkDamage(t, content, n, damaged)
			return
		}
		for sample := range n {
			record := content[sample*cifar10Record:]
			if split.Labels[sample] != int32(record[0]) || record[0] > 9 {
				t.Fatalf("record %d: label: got %d of byte %d", sample, split.Labels[sample], record[0])
			}
			for i, got := range split.Image(sample) {
				if want := record[1+i%3*cifarPlane+i/3]; got != want {
					t.Fatalf("record %d: byte %d of the pixels: got %d, want %d", sample, i, got, want)
				}
			}
		}
	})
}

// checkDamage says whether an error is right about n records of content.
func checkDamage(t *testing.T, content []byte, n int, damaged *DamagedError) {
	t.Helper()
	if strings.HasPrefix(damaged.What, "label") {
		if damaged.Offset%cifar10Record != 0 || content[damaged.Offset] <= 9 {
			t.Fatalf("got %v, but that byte is no bad label", damaged)
		}
		return
	}
	if len(content) >= n*cifar10Record || damaged.Offset != int64(len(content)) {
		t.Fatalf("got %v for %d bytes and %d records", damaged, len(content), n)
	}
}

// cifar100Record is a record by hand: coarse class 4, fine class 99, then planes that tell channel and place.
func cifar100Record() []byte {
	record := make([]byte, 2+3*1024)
	record[0], record[1] = 4, 99
	for i := range 1024 {
		record[2+i], record[2+1024+i], record[2+2048+i] = byte(i%200), 201, byte(202+i%3)
	}
	return record
}

func TestCIFAR100ReadsFineLabels(t *testing.T) {
	second := cifar100Record()
	second[1] = 0
	split := newSplit(cifar100Card().Shape, 2)
	if err := cifar100Files.read(bytes.NewReader(append(cifar100Record(), second...)), split); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(split.Labels); got != "[99 0]" {
		t.Errorf("labels: got %s, want the fine ones [99 0]", got)
	}
	if got := fmt.Sprint(split.Image(1)[3*5 : 3*7]); got != "[5 201 204 6 201 202]" {
		t.Errorf("pixels 5 and 6: got %s, want [5 201 204 6 201 202]", got)
	}
	for _, c := range []struct {
		at   int
		bad  byte
		want string
	}{{0, 20, "byte 3074: label of record 1: 20, expected 0 to 19"},
		{1, 100, "byte 3075: label of record 1: 100, expected 0 to 99"}} {
		bad := cifar100Record()
		bad[c.at] = c.bad
		err := cifar100Files.read(bytes.NewReader(append(cifar100Record(), bad...)), newSplit(cifar100Card().Shape, 2))
		var damaged *DamagedError
		if !errors.As(err, &damaged) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// TestCIFAR100Files opens a set of the published sizes (153,700,000 and 30,740,000 bytes), sparse but for its first record.
func TestCIFAR100Files(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "cifar-100-binary")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int64{"train.bin": 153_700_000, "test.bin": 30_740_000} {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, cifar100Record(), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
	set, err := cifar100().Open(dir, Options{TrainLimit: 3, TestLimit: 2})
	if err != nil || fmt.Sprint(set.Train.Labels, set.Test.Labels) != "[99 0 0] [99 0]" || set.Classes != 100 {
		t.Fatalf("got %+v, %v, want the labels [99 0 0] [99 0]", set, err)
	}
	if err := os.Truncate(filepath.Join(folder, "test.bin"), 30_740_000-1); err != nil {
		t.Fatal(err)
	}
	_, err = cifar100().Open(dir, Options{TrainLimit: 3, TestLimit: 2})
	const want = "test.bin: byte 30739999: size: 30739999 bytes, expected 30740000 bytes (10000 records of 3074)"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error about the size", err)
	}
}

func FuzzReadCIFAR100(f *testing.F) {
	f.Add(append(cifar100Record(), cifar100Record()...))
	f.Add(cifar100Record()[:99])
	f.Fuzz(func(t *testing.T, content []byte) {
		split := newSplit(cifar100Card().Shape, 2)
		err := cifar100Files.read(bytes.NewReader(content), split)
		var damaged *DamagedError
		switch {
		case err != nil && !errors.As(err, &damaged):
			t.Fatalf("got %v, want nil or a *DamagedError", err)
		case err == nil && (split.Labels[1] != int32(content[3075]) || split.Image(1)[2] != content[3074+2+2048]):
			t.Fatalf("got label %d, which is not that of the second record", split.Labels[1])
		case err != nil && damaged.Offset > int64(len(content)):
			t.Fatalf("got %v for %d bytes", damaged, len(content))
		}
	})
}
