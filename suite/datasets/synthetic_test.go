package datasets

import (
	"bytes"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"
)

func openSmall(t testing.TB, opts Options) *Dataset {
	t.Helper()
	set, err := synthetic().Open("", opts)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestSyntheticSizes(t *testing.T) {
	set := openSmall(t, Options{})
	if set.Train.N != 4096 || set.Test.N != 1024 {
		t.Errorf("got %d and %d samples, want 4096 and 1024", set.Train.N, set.Test.N)
	}
	mean, std := moments(set.Train)
	for c := range set.Channels {
		if math.Abs(mean[c]-set.Mean[c]) > 0.5 || math.Abs(std[c]-set.Std[c]) > 0.5 {
			t.Errorf("channel %d: got mean %.2f, deviation %.2f, want %.1f, %.1f", c, mean[c], std[c], set.Mean[c], set.Std[c])
		}
	}
	more := openSmall(t, Options{TrainLimit: 4100, TestLimit: 10})
	if more.Train.N != 4100 || more.TrainSamples != 4100 || more.Test.N != 10 {
		t.Errorf("limits: got %d (card %d) and %d samples, want 4100 and 10", more.Train.N, more.TrainSamples, more.Test.N)
	}
	for _, opts := range []Options{{TrainLimit: 50001}, {TestLimit: 10001}} {
		if _, err := synthetic().Open("", opts); err == nil || !strings.Contains(err.Error(), "must be at most 50000 and 10000") {
			t.Errorf("%+v: got %v, want an error with the bounds", opts, err)
		}
	}
}

func TestSyntheticIsDeterministic(t *testing.T) {
	a := openSmall(t, Options{TrainLimit: 60, TestLimit: 60, Seed: 3})
	b := openSmall(t, Options{TrainLimit: 40, TestLimit: 40, Seed: 3})
	other := openSmall(t, Options{TrainLimit: 40, TestLimit: 40, Seed: 4})
	if !bytes.HasPrefix(a.Train.Images, b.Train.Images) || !bytes.HasPrefix(a.Test.Images, b.Test.Images) {
		t.Error("the first samples depend on how many are made")
	}
	if bytes.Equal(b.Train.Images, other.Train.Images) {
		t.Error("two seeds give the same images")
	}
	for i, label := range a.Train.Labels {
		if int(label) != i%10 {
			t.Fatalf("sample %d: got label %d, want %d", i, label, i%10)
		}
	}
	// Recorded from the first version: a change makes old records incomparable.
	if got, want := crc32.ChecksumIEEE(a.Train.Images), uint32(0x9a4862f4); got != want {
		t.Errorf("checksum of seed 3: got %#x, want %#x", got, want)
	}
}

// TestSyntheticSamplesAreDistinct looks for an image that occurs twice, within a
// split or across.
func TestSyntheticSamplesAreDistinct(t *testing.T) {
	set := openSmall(t, Options{})
	seen := map[string]string{}
	for _, part := range []struct {
		name  string
		split Split
	}{{"train", set.Train}, {"test", set.Test}} {
		for i := range part.split.N {
			image := string(part.split.Image(i))
			if first, ok := seen[image]; ok {
				t.Fatalf("%s sample %d: same image as in %s", part.name, i, first)
			}
			seen[image] = part.name
		}
	}
}

// linearAccuracy is the test accuracy of the best of several ridge regressions
// on the labels: what a linear model can get out of the pixels. It is solved in
// the samples rather than the pixels, w = X'(XX' + penalty)^-1 Y, since there are
// fewer of them.
func linearAccuracy(t *testing.T, train, test Split, classes int) float64 {
	t.Helper()
	x, xTest := pixelMatrix(train), pixelMatrix(test)
	y := mat.NewDense(train.N, classes, nil)
	for i, label := range train.Labels {
		y.Set(i, int(label), 1)
	}
	var gram, cross mat.Dense
	gram.Mul(x, x.T())
	cross.Mul(xTest, x.T())
	best := 0.0
	for _, penalty := range []float64{1e2, 1e3, 1e4} {
		system := mat.NewSymDense(train.N, nil)
		for i := range train.N {
			for j := i; j < train.N; j++ {
				system.SetSym(i, j, gram.At(i, j))
			}
			system.SetSym(i, i, gram.At(i, i)+penalty)
		}
		var factor mat.Cholesky
		if !factor.Factorize(system) {
			t.Fatalf("penalty %v: the matrix is not positive definite", penalty)
		}
		var weights, scores mat.Dense
		if err := factor.SolveTo(&weights, y); err != nil {
			t.Fatal(err)
		}
		scores.Mul(&cross, &weights)
		right := 0
		for i, label := range test.Labels {
			if argmax(scores.RawRowView(i)) == int(label) {
				right++
			}
		}
		best = max(best, float64(right)/float64(test.N))
	}
	return best
}

func pixelMatrix(split Split) *mat.Dense {
	size := split.Shape.Bytes()
	m := mat.NewDense(split.N, size, nil)
	for i := range split.N {
		row := m.RawRowView(i)
		for j, p := range split.Image(i) {
			row[j] = (float64(p) - 127.5) / 37.6
		}
	}
	return m
}

func argmax(row []float64) int {
	best := 0
	for i, v := range row {
		if v > row[best] {
			best = i
		}
	}
	return best
}

// TestSyntheticDefeatsLinearModels also plants a fault, a faint pattern of its
// own on each class, to see that the linear model finds what there is to find.
func TestSyntheticDefeatsLinearModels(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds: the linear model was not tried")
	}
	set := openSmall(t, Options{TrainLimit: 800, TestLimit: 600})
	clean := linearAccuracy(t, set.Train, set.Test, set.Classes)
	if clean > 0.25 {
		t.Errorf("linear model: got accuracy %.3f, want at most 0.25 (chance is 0.1)", clean)
	}
	for _, split := range []Split{set.Train, set.Test} {
		for i, label := range split.Labels {
			image := split.Image(i)
			for k := int(label); k < len(image); k += 10 {
				image[k] = byte(min(int(image[k])+8, 255))
			}
		}
	}
	leaking := linearAccuracy(t, set.Train, set.Test, set.Classes)
	if leaking < 0.6 {
		t.Errorf("linear model on a leaking set: got accuracy %.3f, want at least 0.6: this test sees nothing", leaking)
	}
	t.Logf("linear accuracy %.3f, with a planted leak %.3f", clean, leaking)
}

// TestSyntheticFeatures checks the construction from its results: an upright
// grating varies along rows, a level one along columns, a slanted one along both.
func TestSyntheticFeatures(t *testing.T) {
	set := openSmall(t, Options{TrainLimit: 1000})
	var ratios [3]float64
	for i := range set.Train.N {
		if class := set.Train.Labels[i]; class < 3 {
			ratios[class] += math.Log(variation(set.Train.Image(i), 3) / variation(set.Train.Image(i), 96))
		}
	}
	if level, upright, slanted := ratios[0]/100, ratios[1]/100, ratios[2]/100; level > -0.3 || upright < 0.3 ||
		math.Abs(slanted) > 0.1 {
		t.Errorf("log of variation along rows over columns: got level %.2f, upright %.2f, slanted %.2f, want below -0.3, "+
			"above 0.3, near 0", level, upright, slanted)
	}
}

// variation is the mean square of the differences between pixels a step apart.
func variation(image []byte, step int) float64 {
	sum := 0.0
	for i := 0; i+2*step < len(image); i++ {
		d := float64(image[i]) - float64(image[i+2*step])
		sum += d * d
	}
	return sum / float64(len(image)-2*step)
}

func BenchmarkSynthetic(b *testing.B) {
	for b.Loop() {
		if _, err := synthetic().Open("", Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestSyntheticClasses: of fewer classes there are the first patterns, the same images for the same sample and pattern; with
// more, the other labels do not occur.
func TestSyntheticClasses(t *testing.T) {
	open := func(classes int) *Dataset {
		t.Helper()
		e := synthetic().WithClasses(classes)
		set, err := e.Open("", Options{TrainLimit: 12, TestLimit: 4})
		if err != nil {
			t.Fatal(err)
		}
		if len(set.ClassNames) != set.Classes {
			t.Errorf("%d classes have %d names", set.Classes, len(set.ClassNames))
		}
		return set
	}
	all := open(10)
	for _, c := range []struct {
		asked, classes int
		labels         []int32
	}{{2, 2, []int32{0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1}}, {7, 7, []int32{0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4}},
		{12, 12, all.Train.Labels}, {1, 10, all.Train.Labels}} {
		set := open(c.asked)
		if set.Classes != c.classes || !slices.Equal(set.Train.Labels, c.labels) {
			t.Errorf("asked for %d classes: %d, labels %v, want %d, %v", c.asked, set.Classes, set.Train.Labels, c.classes, c.labels)
		}
		for i := range set.Train.Labels {
			if same := bytes.Equal(set.Train.Image(i), all.Train.Image(i)); same != (c.labels[i] == all.Train.Labels[i]) {
				t.Errorf("%d classes: image %d of class %d is the same as that of class %d: %v", c.classes, i, c.labels[i],
					all.Train.Labels[i], same)
			}
		}
	}
}
