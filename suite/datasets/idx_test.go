package datasets

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// idxFile makes the content of a file: words, then bytes.
func idxFile(content []byte, words ...uint32) []byte {
	var out []byte
	for _, w := range words {
		out = binary.BigEndian.AppendUint32(out, w)
	}
	return append(out, content...)
}

func zipped(t testing.TB, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// idxFolder writes three training and two test images of Fashion-MNIST into a fresh data folder: pixel i of image k of a split is
// 50k + i mod 50, labels are 7, 0, 9 and 1, 2.
func idxFolder(t *testing.T, change func(name string, content []byte) []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "fashion-mnist"), 0o755); err != nil {
		t.Fatal(err)
	}
	images := func(n int) []byte {
		b := make([]byte, n*784)
		for i := range b {
			b[i] = byte(50*(i/784) + i%784%50)
		}
		return b
	}
	for name, content := range map[string][]byte{
		"train-images-idx3-ubyte.gz": idxFile(images(3), 0x803, 3, 28, 28),
		"train-labels-idx1-ubyte.gz": idxFile([]byte{7, 0, 9}, 0x801, 3),
		"t10k-images-idx3-ubyte.gz":  idxFile(images(2), 0x803, 2, 28, 28),
		"t10k-labels-idx1-ubyte.gz":  idxFile([]byte{1, 2}, 0x801, 2),
	} {
		content = zipped(t, content)
		if change != nil {
			content = change(name, content)
		}
		if err := os.WriteFile(filepath.Join(dir, "fashion-mnist", name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func openFashion(dir string, opts Options) (*Dataset, error) { return fashionMNIST().Open(dir, opts) }

func TestIDXReads(t *testing.T) {
	set, err := openFashion(idxFolder(t, nil), Options{TrainLimit: 3, TestLimit: 2})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(set.Train.Labels, set.Test.Labels); got != "[7 0 9] [1 2]" {
		t.Errorf("labels: got %s", got)
	}
	for _, split := range []Split{set.Train, set.Test} {
		if err := split.check(); err != nil {
			t.Error(err)
		}
	}
	if image := set.Train.Image(1); len(image) != 28*28 || image[0] != 50 || image[49] != 99 || image[50] != 50 ||
		image[783] != 50+783%50 {
		t.Errorf("second image: got %d bytes, %v ...", len(image), image[:4])
	}
	if set, err = openFashion(idxFolder(t, nil), Options{TrainLimit: 2, TestLimit: 1}); err != nil || set.Train.N != 2 ||
		set.Test.N != 1 {
		t.Errorf("with limits below the files: got %v, %v", set, err)
	}
}

func TestIDXDamage(t *testing.T) {
	const images, labels = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
	for _, c := range []struct {
		name, file string
		content    []byte
		want       string
	}{
		{"no gzip", images, []byte("hello"), "content"},
		{"an empty file", images, zipped(t, nil), "byte 0: header: the end of the file, expected more bytes"},
		{"labels for images", images, zipped(t, idxFile(make([]byte, 3), 0x801, 3)), "byte 11: header"},
		{"a wrong magic number", images, zipped(t, idxFile(make([]byte, 3*784), 0x802, 3, 28, 28)),
			"magic number: 0x00000802, expected 0x00000803"},
		{"too few samples", labels, zipped(t, idxFile([]byte{1, 2}, 0x801, 2)), "byte 4: number of samples: 2, expected 60000"},
		{"a huge number of samples", labels, zipped(t, idxFile([]byte{1, 2}, 0x801, 1<<32-1)), "byte 10: samples: the end of the file"},
		{"images of another size", images, zipped(t, idxFile(make([]byte, 3*32*32), 0x803, 3, 32, 32)),
			"byte 8: size of the images: 32x32, expected 28x28"},
		{"a file that is cut off", images, zipped(t, idxFile(make([]byte, 3*784-1), 0x803, 3, 28, 28)),
			"byte 2367: samples: the end of the file"},
		{"further bytes", labels, zipped(t, idxFile([]byte{7, 0, 9, 1}, 0x801, 3)), "byte 11: end: more bytes"},
		{"a label out of range", labels, zipped(t, idxFile([]byte{7, 10, 9}, 0x801, 3)),
			"byte 9: label of sample 1: 10, expected 0 to 9"},
		{"a wrong checksum", labels, func() []byte {
			b := zipped(t, idxFile([]byte{7, 0, 9}, 0x801, 3))
			b[len(b)-8] ^= 1
			return b
		}(), "byte 11: end: gzip: invalid checksum"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := idxFolder(t, func(name string, content []byte) []byte {
				if name == c.file {
					return c.content
				}
				return content
			})
			_, err := openFashion(dir, Options{TrainLimit: 3, TestLimit: 2})
			var damaged *DamagedError
			if !errors.As(err, &damaged) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.file) {
				t.Fatalf("got %v, want a *DamagedError with %q", err, c.want)
			}
			if damaged.Dataset != "fashionmnist" || !strings.Contains(damaged.Hint(), "data pull fashionmnist") {
				t.Errorf("got %+v, want the set and a hint", damaged)
			}
		})
	}
}

// TestMNISTReal reads the unpacked files of MNIST, if this machine has an archive of them beside the repository or in
// $BENCHCTL_ARCHIVES: the published counts of classes, mean and deviation.
func TestMNISTReal(t *testing.T) {
	set, err := mnist().Open(unpacked(t, "mnist"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	counts := make([]int, 10)
	for _, label := range set.Train.Labels {
		counts[label]++
	}
	if got := fmt.Sprint(counts, set.Train.Labels[:5], set.Test.Labels[:5]); got != "[5923 6742 5958 6131 5842 5421 5918 6265 "+
		"5851 5949] [5 0 4 1 9] [7 2 1 0 4]" {
		t.Errorf("labels: got %s", got)
	}
	mean, std := moments(set.Train)
	if math.Abs(mean[0]-set.Mean[0]) > 0.02 || math.Abs(std[0]-set.Std[0]) > 0.02 {
		t.Errorf("got mean %.3f, deviation %.3f, want %.3f, %.3f", mean[0], std[0], set.Mean[0], set.Std[0])
	}
}

// unpacked unpacks NAME.tar.xz of the folder $BENCHCTL_ARCHIVES into a temporary folder.
func unpacked(t *testing.T, name string) string {
	t.Helper()
	folder := os.Getenv("BENCHCTL_ARCHIVES")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "data", "archives")
	}
	archive, err := filepath.Abs(filepath.Join(folder, name+".tar.xz"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(archive); err != nil {
		t.Skipf("%v: real images were not tested; $BENCHCTL_ARCHIVES names the folder of the archives", err)
	}
	tar, err := exec.LookPath("tar")
	if err != nil {
		t.Skipf("%v: real images were not tested", err)
	}
	dir := t.TempDir()
	if out, err := exec.Command(tar, "-xJf", archive, "-C", dir).CombinedOutput(); err != nil {
		t.Skipf("tar: %v: %s: real images were not tested", err, out)
	}
	return dir
}

// FuzzReadIDX gives any content to the reader, which must fill two samples or report damage.
func FuzzReadIDX(f *testing.F) {
	f.Add(idxFile([]byte{7, 0}, 0x801, 2), false)
	f.Add(idxFile([]byte{7, 0, 11}, 0x801, 3), false)
	f.Add(idxFile(make([]byte, 2*784), 0x803, 2, 28, 28), true)
	f.Add(idxFile(nil, 0x803, 1<<32-1, 28, 28), true)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, content []byte, images bool) {
		magic, into, header := uint32(idxLabels), make([]byte, 2), 8
		if images {
			magic, into, header = idxImages, make([]byte, 2*784), 16
		}
		err := readIDX(bytes.NewReader(content), magic, into, 2, 60000)
		var damaged *DamagedError
		switch {
		case err == nil:
			if !bytes.Equal(into, content[header:header+len(into)]) {
				t.Fatal("the samples differ from the bytes after the header")
			}
		case !errors.As(err, &damaged):
			t.Fatalf("got %v, want a *DamagedError", err)
		case damaged.Offset < 0 || damaged.Offset > int64(len(content)):
			t.Fatalf("got %v for %d bytes", damaged, len(content))
		}
	})
}

func TestIDXReadError(t *testing.T) {
	err := readIDX(io.MultiReader(bytes.NewReader(idxFile([]byte{1}, 0x801, 2)), diskError{}), idxLabels, make([]byte, 2), 2, 60000)
	var damaged *DamagedError
	if err == nil || errors.As(err, &damaged) {
		t.Errorf("got %v, want the reader's error and no *DamagedError", err)
	}
}

type diskError struct{}

func (diskError) Read([]byte) (int, error) {
	return 0, &os.PathError{Op: "read", Path: "x", Err: errors.New("the disk is gone")}
}
