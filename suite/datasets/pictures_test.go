package datasets

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// openPicture decodes a picture of testdata/pictures, which make_pictures.py wrote.
func openPicture(t testing.TB, name string) image.Image {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", "pictures", name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	picture, _, err := image.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// TestPicturesScaleAsTorchvision: Pillow keeps 8 bits between the two directions of a scaling, so that values may differ
// by one, and by another where they are rounded.
func TestPicturesScaleAsTorchvision(t *testing.T) {
	colour, grey := openPicture(t, "colour.png"), openPicture(t, "grey.jpg")
	const tolerance = 2
	for name, draw := range map[string]func(*image.RGBA){
		"middle_40_32.png":        func(c *image.RGBA) { middle(c, colour, 40) },
		"middle_90_32.png":        func(c *image.RGBA) { middle(c, colour, 90) },
		"grey_36_32.png":          func(c *image.RGBA) { middle(c, grey, 36) },
		"part_5_7_50_60_32.png":   func(c *image.RGBA) { scale(c, c.Rect, colour, image.Rect(7, 5, 67, 55)) },
		"part_40_60_10_12_32.png": func(c *image.RGBA) { scale(c, c.Rect, colour, image.Rect(60, 40, 72, 50)) },
	} {
		canvas := image.NewRGBA(image.Rect(0, 0, 32, 32))
		draw(canvas)
		want, worst := openPicture(t, name), 0.0
		for y := range 32 {
			for x := range 32 {
				r, g, b, _ := want.At(x, y).RGBA()
				for c, v := range []uint32{r, g, b} {
					worst = max(worst, math.Abs(float64(canvas.Pix[canvas.PixOffset(x, y)+c])-float64(v>>8)))
				}
			}
		}
		if worst > tolerance {
			t.Errorf("%s: got a difference of %g, want at most %d", name, worst, tolerance)
		}
	}
}

// TestCropsAsTorchvision holds the parts that are drawn against the means of those that torchvision draws.
func TestCropsAsTorchvision(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "pictures", "crops.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Crops []struct {
			Width, Height, Draws int
			Means, Deviations    [4]float64 // area, logarithm of the ratio, row, column
		}
	}
	if err := json.Unmarshal(text, &golden); err != nil || len(golden.Crops) == 0 {
		t.Fatalf("got %d cases, %v", len(golden.Crops), err)
	}
	const draws = 100_000
	for _, c := range golden.Crops {
		var sum [4]float64
		for i := range int32(draws) {
			r := cropDice{seed: 1, epoch: uint32(i >> 8), sample: i}.crop(c.Width, c.Height)
			if r.Empty() || !r.In(image.Rect(0, 0, c.Width, c.Height)) {
				t.Fatalf("%dx%d: got the part %v", c.Width, c.Height, r)
			}
			sum[0] += float64(r.Dx()*r.Dy()) / float64(c.Width*c.Height)
			sum[1] += math.Log(float64(r.Dx()) / float64(r.Dy()))
			sum[2] += float64(r.Min.Y) / float64(c.Height)
			sum[3] += float64(r.Min.X) / float64(c.Width)
		}
		for k, name := range []string{"area", "ratio", "row", "column"} {
			// Five standard errors of the difference of two means; where all are the same, rounding.
			bound := 5*c.Deviations[k]*math.Sqrt(1.0/draws+1/float64(c.Draws)) + 1e-9
			if got := sum[k] / draws; math.Abs(got-c.Means[k]) > bound {
				t.Errorf("%dx%d: mean %s: got %.5f, want %.5f within %.5f", c.Width, c.Height, name, got, c.Means[k], bound)
			}
		}
	}
}

// imagenetFiles writes a set of two classes with colour.png and grey.jpg in turns: three and two pictures to train on, one
// each to test.
func imagenetFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for folder, n := range map[string]int{"train/n01": 3, "train/n02": 2, "val/n01": 1, "val/n02": 1} {
		folder = filepath.Join(dir, imagenetFolder, folder)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			content, err := os.ReadFile(filepath.Join("testdata", "pictures", []string{"colour.png", "grey.jpg"}[i%2]))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%d.JPEG", i)), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// openFolder opens the set of imagenetFiles as one of the user's own.
func openFolder(dir string, opts Options) (*Dataset, error) {
	entry, err := Find(FolderPrefix + filepath.Join(dir, imagenetFolder))
	if err != nil {
		return nil, err
	}
	return entry.Open("", opts)
}

func TestFolderOpens(t *testing.T) {
	dir := imagenetFiles(t)
	set, err := openFolder(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if set.Classes != 2 || set.TrainSamples != 5 || set.TestSamples != 2 {
		t.Errorf("got %d classes, %d and %d samples, want 2, 5 and 2", set.Classes, set.TrainSamples, set.TestSamples)
	}
	// In turns: 0 of n01, 0 of n02, 1 of n01, 1 of n02, 2 of n01.
	if !slices.Equal(set.Train.Labels, []int32{0, 1, 0, 1, 0}) || !slices.Equal(set.Test.Labels, []int32{0, 1}) {
		t.Errorf("got labels %v and %v", set.Train.Labels, set.Test.Labels)
	}
	part, err := set.Train.Slice(1, 3)
	if err != nil || part.check() != nil || filepath.Base(part.Pictures.path(1)) != "1.JPEG" || part.Labels[1] != 0 {
		t.Errorf("samples 1 and 2: got %+v, %v", part, err)
	}
	if err := set.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	rest, held, err := set.Train.Holdout(0.4)
	if err != nil || rest.check() != nil || held.check() != nil || rest.N != 3 || held.N != 2 {
		t.Fatalf("held out: got %+v and %+v, %v, want 3 and 2 samples", rest, held, err)
	}
	var paths []string
	for _, part := range []Split{rest, held} {
		for i, label := range part.Labels {
			path := part.Pictures.path(i)
			paths = append(paths, path)
			if want := fmt.Sprintf("n0%d", label+1); filepath.Base(filepath.Dir(path)) != want {
				t.Errorf("held out: label %d of %s", label, path)
			}
		}
	}
	if slices.Sort(paths); len(slices.Compact(paths)) != 5 {
		t.Errorf("held out: got the files %v, want all five once", paths)
	}
	_, err = openImageNet(dir, imagenetCard(), Options{TrainLimit: 5, TestLimit: 2}) // it has 1000 classes, and so has the network
	var damaged *DamagedError
	if !errors.As(err, &damaged) || !strings.Contains(damaged.Hint(), "--datasets folder:"+filepath.Join(dir, "imagenet")) {
		t.Errorf("ImageNet with two classes: got %v, want a *DamagedError whose hint names folder:", err)
	}
	if err := os.Rename(filepath.Join(dir, "imagenet", "val", "n02"), filepath.Join(dir, "imagenet", "val", "n03")); err != nil {
		t.Fatal(err)
	}
	if _, err := openFolder(dir, Options{}); err == nil || !strings.Contains(err.Error(), filepath.Join("val", "CLASS")) {
		t.Errorf("another class to test: got %v, want an error about the folders", err)
	}
}

// batchesOf returns the images of an epoch in order of the samples.
func batchesOf(t *testing.T, split Split, o LoaderOptions) ([]byte, error) {
	t.Helper()
	loader, err := NewLoader(split, o)
	if err != nil {
		t.Fatal(err)
	}
	defer loader.Close()
	size := split.Shape.Bytes()
	all := make([]byte, split.N*size)
	for {
		batch, err := loader.Next(t.Context())
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		for i, sample := range batch.Samples {
			if batch.Labels[i] != split.Labels[sample] {
				t.Errorf("sample %d: got label %d", sample, batch.Labels[i])
			}
			copy(all[int(sample)*size:], batch.Images[i*size:(i+1)*size])
		}
		loader.Release(batch)
	}
}

// TestPicturesLoad: the batches are those of one goroutine, whatever the number; epochs differ, the middle does not.
func TestPicturesLoad(t *testing.T) {
	set, err := openFolder(imagenetFiles(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	get := func(o LoaderOptions) []byte {
		all, err := batchesOf(t, set.Train, o)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	crop := LoaderOptions{Batch: 2, Seed: 3, Epoch: 1, Augment: set.Augment, Shuffle: true}
	one := get(crop)
	crop.Decoders, crop.Batch = 3, 4
	if !bytes.Equal(one, get(crop)) {
		t.Error("other goroutines and another batch: got other images")
	}
	if crop.Epoch++; bytes.Equal(one, get(crop)) {
		t.Error("another epoch: got the same images")
	}
	plain := get(LoaderOptions{Batch: 5, Decoders: 2})
	canvas := image.NewRGBA(image.Rect(0, 0, 224, 224))
	middle(canvas, openPicture(t, "colour.png"), 256)
	want := make([]byte, set.Shape.Bytes())
	dropAlpha(want, canvas)
	if !bytes.Equal(plain[:len(want)], want) {
		t.Error("without a change: got another image than the middle")
	}
	grey := plain[2*len(want):] // a grey picture has the same value in all channels
	if grey[0] != grey[1] || grey[1] != grey[2] {
		t.Errorf("a grey picture: got the pixel %v", grey[:3])
	}
	mirrored := 0
	for sample := range int32(1000) {
		if (cropDice{seed: 3, epoch: 1, sample: sample}).flip() {
			mirrored++
		}
	}
	if mirrored < 420 || mirrored > 580 { // five standard errors
		t.Errorf("got %d of 1000 images mirrored", mirrored)
	}
}

func TestPicturesDamage(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"cut off": func(path string) error {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, content[:len(content)/2], 0o644)
		},
		"no picture": func(path string) error { return os.WriteFile(path, []byte("none"), 0o644) },
		"gone":       os.Remove,
	} {
		dir := imagenetFiles(t)
		set, err := openFolder(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "imagenet", "train", "n02", "1.JPEG")
		if err := change(path); err != nil {
			t.Fatal(err)
		}
		_, err = batchesOf(t, set.Train, LoaderOptions{Batch: 2, Decoders: 2})
		var hint interface{ Hint() string }
		if err == nil || !strings.Contains(err.Error(), path) || !errors.As(err, &hint) {
			t.Errorf("%s: got %v, want an error with the file and a hint", name, err)
		}
		if verified := set.Verify(context.Background()); verified == nil || verified.Error() != err.Error() {
			t.Errorf("%s: verify: got %v, want %v", name, verified, err)
		}
	}
}

func TestLoaderRefusesWhatPicturesCannot(t *testing.T) {
	set, err := openFolder(imagenetFiles(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		split Split
		o     LoaderOptions
	}{
		"a border":              {set.Train, LoaderOptions{Batch: 1, Augment: Augmentation{Pad: 4}}},
		"a device that changes": {set.Train, LoaderOptions{Batch: 1, Draw: true}},
		"a resized crop of what is loaded": {numbered(4, Shape{8, 8, 3}),
			LoaderOptions{Batch: 1, Augment: Augmentation{ResizedCrop: true}}},
	} {
		if l, err := NewLoader(c.split, c.o); err == nil {
			l.Close()
			t.Errorf("%s: got a loader, want an error", name)
		}
	}
}

// BenchmarkPictures is the rate of decoding, cropping and scaling on one core.
func BenchmarkPictures(b *testing.B) {
	root := filepath.Join(dataDir(b), "hymenoptera-small", "train")
	pictures, err := listPictures(root, []string{"ants", "bees"})
	if err != nil {
		b.Skipf("%v: real pictures were not timed", err)
	}
	shape := imagenetCard().Shape
	dst := make([]byte, shape.Bytes())
	for i := range b.N {
		if err := pictures.fill(dst, []int32{int32(i % len(pictures.files))}, shape,
			LoaderOptions{Augment: imagenetCard().Augment}); err != nil {
			b.Fatal(err)
		}
	}
}
