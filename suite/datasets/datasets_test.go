package datasets

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dataDir is the data folder of this machine: BENCHCTL_DATA or the user's cache.
func dataDir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("BENCHCTL_DATA"); dir != "" {
		return dir
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("no data folder (%v): real data sets were not tested", err)
	}
	return filepath.Join(cache, "localbench", "data")
}

func TestListCardsAreComplete(t *testing.T) {
	names := map[string]bool{}
	for _, entry := range List() {
		if names[entry.Name] {
			t.Errorf("%s: listed twice", entry.Name)
		}
		names[entry.Name] = true
		if entry.Licence == "" || entry.Open == nil || entry.TrainSamples < 1 || entry.TestSamples < 1 {
			t.Errorf("%s: an entry without licence, Open or size: %+v", entry.Name, entry)
		}
		if names := len(entry.ClassNames); names != 0 && names != entry.Classes || len(entry.Mean) != entry.Channels ||
			len(entry.Std) != entry.Channels {
			t.Errorf("%s: got %d class names, %d means, %d deviations, want %d, %d, %d", entry.Name,
				len(entry.ClassNames), len(entry.Mean), len(entry.Std), entry.Classes, entry.Channels, entry.Channels)
		}
		if err := entry.Augment.check(entry.Shape); err != nil {
			t.Errorf("%s: %v", entry.Name, err)
		}
		found, err := Find(entry.Name)
		if err != nil || found.Name != entry.Name {
			t.Errorf("Find(%q): got %q, %v", entry.Name, found.Name, err)
		}
	}
	if _, err := Find("cifar11"); err == nil ||
		!strings.Contains(err.Error(), "cifar10, cifar100, svhn, stl10, fashionmnist, mnist, imagenet, synthetic") {
		t.Errorf("Find of an unknown name: got %v, want an error that lists the names", err)
	}
}

func TestOpenWithoutData(t *testing.T) {
	for _, entry := range List() {
		if entry.Archive == nil {
			continue
		}
		dir := t.TempDir()
		_, err := entry.Open(dir, Options{})
		var missing *MissingError
		if !errors.As(err, &missing) {
			t.Errorf("%s: open of an empty folder: got %v, want a *MissingError", entry.Name, err)
			continue
		}
		address := "image-net.org"
		if len(entry.Archive.Downloads) > 0 {
			address = entry.Archive.Downloads[0].URL
		}
		if missing.Dataset != entry.Name || missing.Dir != dir || !strings.Contains(missing.Hint(), address) {
			t.Errorf("%s: got %+v, want the name, the folder and a hint with the address", entry.Name, missing)
		}
		if _, err := entry.Open("", Options{}); err == nil {
			t.Errorf("%s: open of no folder: got nil, want an error", entry.Name)
		}
	}
}

func TestOpenRefusesNegativeLimits(t *testing.T) {
	for _, entry := range List() {
		for _, opts := range []Options{{TrainLimit: -1}, {TestLimit: -1}} {
			if _, err := entry.Open(t.TempDir(), opts); err == nil || !strings.Contains(err.Error(), "limit -1: must be") {
				t.Errorf("%s: %+v: got %v, want an error about the limit", entry.Name, opts, err)
			}
		}
	}
}

func TestSplitSlice(t *testing.T) {
	split := numbered(10, Shape{2, 3, 1})
	part, err := split.Slice(3, 7)
	if err != nil {
		t.Fatal(err)
	}
	if err := part.check(); err != nil {
		t.Fatal(err)
	}
	if part.N != 4 || part.Labels[0] != split.Labels[3] || &part.Image(0)[0] != &split.Image(3)[0] {
		t.Errorf("Slice(3, 7): got %d samples from label %d, want 4 from label %d, shared", part.N, part.Labels[0], split.Labels[3])
	}
	for _, c := range [][2]int{{-1, 2}, {3, 2}, {0, 11}} {
		if _, err := split.Slice(c[0], c[1]); err == nil {
			t.Errorf("Slice(%d, %d) of 10: got nil, want an error", c[0], c[1])
		}
	}
}

// numbered makes a split whose every pixel and label tells its sample.
func numbered(n int, shape Shape) Split {
	split := newSplit(shape, n)
	for sample := range n {
		split.Labels[sample] = int32(sample % 7)
		for i := range split.Image(sample) {
			split.Image(sample)[i] = byte(31*sample + 7*i)
		}
	}
	return split
}
