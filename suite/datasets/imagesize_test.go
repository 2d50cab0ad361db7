package datasets

import (
	"bytes"
	"image"
	"math"
	"strings"
	"testing"
)

// TestImageSizeOfFolders compares a test image of 48 pixels with torchvision's: resized to 48*256/224, the centre cut out.
func TestImageSizeOfFolders(t *testing.T) {
	entry, err := Find(FolderPrefix + imagenetFiles(t) + "/" + imagenetFolder)
	if err != nil {
		t.Fatal(err)
	}
	sized, err := entry.WithImageSize(48)
	if err != nil {
		t.Fatal(err)
	}
	set, err := sized.Open("", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Shape{48, 48, 3}); set.Shape != want || set.Train.Shape != want || set.Test.Shape != want || sized.Shape != want {
		t.Fatalf("got %v, %v, %v, want %v", set.Shape, set.Train.Shape, set.Test.Shape, want)
	}
	all, err := batchesOf(t, set.Train, LoaderOptions{Batch: 2})
	if err != nil {
		t.Fatal(err)
	}
	want := image.NewRGBA(image.Rect(0, 0, 48, 48))
	middle(want, openPicture(t, "middle_54_48.png"), 48)
	pixels, worst := make([]byte, set.Shape.Bytes()), 0.0
	dropAlpha(pixels, want)
	for i, p := range pixels {
		worst = max(worst, math.Abs(float64(p)-float64(all[i])))
	}
	if worst > 2 { // see TestPicturesScaleAsTorchvision
		t.Errorf("got a difference of %g from torchvision, want at most 2", worst)
	}
	if _, err := batchesOf(t, set.Train, LoaderOptions{Batch: 2, Augment: set.Augment}); err != nil {
		t.Errorf("random resized crops: %v", err)
	}
	again, err := entry.Open("", Options{})
	if err != nil || again.Height != 224 {
		t.Errorf("the set without a size: got %v, %v, want 224 pixels", again, err)
	}
}

// TestImageSizeOfSynthetic averages images of 64 pixels over 2x2: but for the noise they are the images of 32.
func TestImageSizeOfSynthetic(t *testing.T) {
	sized, err := synthetic().WithImageSize(64)
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{TrainLimit: 200, TestLimit: 10, Seed: 3}
	large, err := sized.Open("", opts)
	if err != nil {
		t.Fatal(err)
	}
	small := openSmall(t, opts)
	var same, other float64
	for sample := range large.Train.N {
		a, b := large.Train.Image(sample), small.Train.Image(sample)
		halves := make([]float64, len(b))
		for i := range halves {
			c, x, y := i%3, i/3%32, i/96
			for k := range 4 {
				halves[i] += float64(a[((2*y+k/2)*64+2*x+k%2)*3+c]) / 4
			}
		}
		same += correlation(halves, b) / float64(large.Train.N)
		other += correlation(halves, small.Train.Image((sample+10)%small.Train.N)) / float64(large.Train.N)
	}
	if same < 0.7 || math.Abs(other) > 0.1 {
		t.Errorf("got a mean correlation of %.2f with the same image of 32 pixels and %.2f with another one of its class, "+
			"want at least 0.7 and about 0", same, other)
	}
	mean, std := moments(large.Train)
	for c := range 3 {
		if math.Abs(mean[c]-large.Mean[c]) > 3 || math.Abs(std[c]-large.Std[c]) > 2 {
			t.Errorf("channel %d: got mean %.1f, deviation %.1f, want %.1f, %.1f", c, mean[c], std[c], large.Mean[c], large.Std[c])
		}
	}
	if large.Augment.Pad != 8 {
		t.Errorf("got crops of images padded by %d, want 8", large.Augment.Pad)
	}
	if same, err := synthetic().WithImageSize(32); err != nil || same.Shape != synthetic().Shape {
		t.Errorf("the set's own size: got %v, %v", same.Shape, err)
	}
	if bytes.Equal(large.Train.Image(0), large.Train.Image(10)) {
		t.Error("two samples are the same")
	}
}

func correlation(a []float64, b []byte) float64 {
	var ma, mb float64
	for i := range a {
		ma, mb = ma+a[i]/float64(len(a)), mb+float64(b[i])/float64(len(a))
	}
	var ab, aa, bb float64
	for i := range a {
		x, y := a[i]-ma, float64(b[i])-mb
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}

func TestImageSizeRefused(t *testing.T) {
	for _, c := range []struct {
		entry Entry
		side  int
		want  string
	}{
		{cifar10(), 64, "--image-size 64 and --datasets cifar10 can't be combined: its images are 32x32 and are used as they are; " +
			"imagenet, synthetic and folder:PATH take a size"},
		{mnist(), 32, "its images are 28x28"},
		{imagenet(), 7, "--image-size 7: must be 8 to 1024 for imagenet"},
		{synthetic(), 513, "--image-size 513: must be 16 to 512 for synthetic"},
	} {
		if _, err := c.entry.WithImageSize(c.side); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.entry.Name, err, c.want)
		}
	}
	if same, err := cifar10().WithImageSize(32); err != nil || same.Name != "cifar10" {
		t.Errorf("cifar10 at its own size: got %v", err)
	}
}

// TestFoldersReal reads archives of real images: classes from folders, some grey, of many sizes.
func TestFoldersReal(t *testing.T) {
	if testing.Short() {
		t.Skip("it decodes thousands of images: real images were not tested")
	}
	for _, c := range []struct {
		name                         string
		side, classes, train, perVal int
	}{{"tiny-imagenet-10", 64, 10, 5000, 50}, {"hymenoptera-small", 96, 2, 100, 20}} {
		t.Run(c.name, func(t *testing.T) {
			entry, err := Find(FolderPrefix + unpacked(t, c.name) + "/" + c.name)
			if err != nil {
				t.Fatal(err)
			}
			if entry, err = entry.WithImageSize(c.side); err != nil {
				t.Fatal(err)
			}
			set, err := entry.Open("", Options{})
			if err != nil {
				t.Fatal(err)
			}
			if set.Classes != c.classes || set.Train.N != c.train || set.Test.N != c.classes*c.perVal {
				t.Errorf("got %d classes, %d and %d samples", set.Classes, set.Train.N, set.Test.N)
			}
			for _, o := range []LoaderOptions{{Batch: 64, Augment: set.Augment, Seed: 1}, {Batch: 64}} {
				if _, err := batchesOf(t, set.Test, o); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
