// Package datasets provides the image data sets for training and the loader
// that divides them into batches.
//
// Opening a folder gives a Dataset: all images of both splits in memory as
// bytes in the order [N, H, W, C], so that a step never waits for a disk and the
// host memory of a set is known from its card. A set too large for that (ImageNet) is a list of
// image files, which the loader decodes batch by batch. Normalisation is not done
// here: the loader returns bytes (a quarter of the traffic of float32) and
// the compute core subtracts Mean and divides by Std on the device.
//
// Every random choice, the order of an epoch, a crop, a flip, is addressed by
// (seed, purpose, epoch, sample) through core/rng. So the batches of an epoch
// do not depend on the number of workers or on resuming.
//
// Each set has a file in this package and an entry in list.go. A set on disk is
// checked while it is read; an error names the file, the byte and the expected
// content.
package datasets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Shape is the size of an image in pixels, stored as [Height, Width, Channels].
type Shape struct {
	Height, Width, Channels int
}

// Bytes is the size of one image.
func (s Shape) Bytes() int { return s.Height * s.Width * s.Channels }

// Card describes a set without opening it: enough to plan a step.
type Card struct {
	Name    string
	Classes int
	Shape
	// TrainSamples and TestSamples are the sizes of the splits when no limit is set.
	TrainSamples, TestSamples int
	// MaxTrainSamples and MaxTestSamples are the largest limits of a generated set; 0 for sets
	// of files, where a larger limit means all samples.
	MaxTrainSamples, MaxTestSamples int
	// Mean and Std are the normalisation of each channel, in units of 0..255:
	// the network sees (pixel - Mean) / Std.
	Mean, Std []float64
	// Augment is the training recipe's augmentation; test images have none.
	Augment Augmentation
	// ClassNames has one name per class, in the order of the labels; nil if folders name them.
	ClassNames []string
}

// Dataset is an opened data set.
type Dataset struct {
	Card
	Train, Test Split
}

// Verify reads and checks the content that opening the set did not read.
func (d *Dataset) Verify(ctx context.Context) error {
	for _, s := range []Split{d.Train, d.Test} {
		if s.Pictures != nil {
			if err := s.Pictures.verify(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// Split is the training or the test part of a set. It must not change once loaders share it.
type Split struct {
	Shape
	N      int
	Images []byte  // [N, Height, Width, Channels]; nil where Pictures has them
	Labels []int32 // [N], each in 0..Classes-1
	// Pictures are image files to decode; nil if Images holds the pixels.
	Pictures *Pictures
}

// Image returns the pixels of one sample, without copying them. It must not be called for a split with Pictures.
func (s Split) Image(sample int) []byte {
	size := s.Shape.Bytes()
	return s.Images[sample*size : (sample+1)*size : (sample+1)*size]
}

// Slice returns the samples from..to-1 without copying them: the first N of a
// split, or the two parts of a training split with a validation part. Note that
// the samples of a part are numbered from 0, for random choices too.
func (s Split) Slice(from, to int) (Split, error) {
	if from < 0 || to < from || to > s.N {
		return Split{}, fmt.Errorf("slice of a split: samples %d to %d: must be within 0 to %d", from, to, s.N)
	}
	size := s.Shape.Bytes()
	part := Split{Shape: s.Shape, N: to - from}
	if s.Pictures != nil {
		files := *s.Pictures
		files.files = files.files[from:to:to]
		part.Pictures = &files
	} else {
		part.Images = s.Images[from*size : to*size : to*size]
	}
	part.Labels = s.Labels[from:to:to]
	return part, nil
}

// newSplit allocates a split of n samples.
func newSplit(shape Shape, n int) Split {
	return Split{Shape: shape, N: n, Images: make([]byte, n*shape.Bytes()), Labels: make([]int32, n)}
}

// check returns an error if the fields of a split are inconsistent.
func (s Split) check() error {
	if s.N < 1 || s.Height < 1 || s.Width < 1 || s.Channels < 1 {
		return fmt.Errorf("split: %d samples of %dx%dx%d: all must be at least 1", s.N, s.Height, s.Width, s.Channels)
	}
	if s.Pictures != nil {
		if s.Channels != 3 || len(s.Pictures.files) != s.N {
			return fmt.Errorf("split: %d image files of %d channels: must be %d of 3", len(s.Pictures.files), s.Channels, s.N)
		}
	} else if want := s.N * s.Shape.Bytes(); len(s.Images) != want {
		return fmt.Errorf("split: pixels have %d bytes, but need %d", len(s.Images), want)
	}
	if len(s.Labels) != s.N {
		return fmt.Errorf("split: %d labels for %d samples", len(s.Labels), s.N)
	}
	return nil
}

// Options limit how much of a set is opened. The zero value opens all of it.
type Options struct {
	// TrainLimit and TestLimit keep the first N samples; 0, or more than the set
	// has, keeps all. A generated set has as many samples as
	// requested, up to its bounds.
	TrainLimit, TestLimit int
	// Seed selects the content of a generated set; sets of files ignore it. It is not
	// the seed of a run: runs with several seeds should see the same images.
	Seed uint64
}

// check returns an error for negative limits.
func (o Options) check(dataset string) error {
	if o.TrainLimit < 0 {
		return fmt.Errorf("%s: --train-limit %d: must be at least 0 (0: all samples)", dataset, o.TrainLimit)
	}
	if o.TestLimit < 0 {
		return fmt.Errorf("%s: --test-limit %d: must be at least 0 (0: all samples)", dataset, o.TestLimit)
	}
	return nil
}

// limited is the number of samples to open when a split has n of them.
func limited(limit, n int) int {
	if limit == 0 {
		return n
	}
	return min(limit, n)
}

// MissingError reports that a set, or a file of it, does not exist on this machine.
type MissingError struct {
	Dataset string
	Dir     string // the data folder that was searched
	Want    string // the path that would have to exist
	Remedy  string // how to get it, a sentence
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s: not found in %s: %s is missing", e.Dataset, e.Dir, e.Want)
}

// Hint tells how to get the set.
func (e *MissingError) Hint() string { return e.Remedy }

// DamagedError reports a file of a set with unexpected content.
type DamagedError struct {
	Dataset string
	File    string
	Offset  int64  // the byte at which it shows; below 0 for a folder
	What    string // the thing that is wrong there: "size", "label"
	Got     string
	Want    string
	Remedy  string
}

func (e *DamagedError) Error() string {
	place := e.File
	if e.Offset >= 0 {
		place = fmt.Sprintf("%s: byte %d", e.File, e.Offset)
	}
	return fmt.Sprintf("%s: %s: %s: %s, expected %s", e.Dataset, place, e.What, e.Got, e.Want)
}

// Hint tells how to get a sound copy.
func (e *DamagedError) Hint() string { return e.Remedy }

// sizeOf is the size of a file of a set; an absent one gives a *MissingError.
func sizeOf(dataset, dir, path, remedy string) (int64, error) {
	status, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, &MissingError{Dataset: dataset, Dir: dir, Want: path, Remedy: remedy}
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", dataset, err)
	}
	if !status.Mode().IsRegular() {
		return 0, fmt.Errorf("%s: %s: is a %s; must be a regular file", dataset, path, status.Mode().Type())
	}
	return status.Size(), nil
}

// checkDir refuses an empty name of a data folder.
func checkDir(dataset, dir, folder string) error {
	if dir == "" {
		return fmt.Errorf("%s: --data-dir is empty: must be the folder that holds %s", dataset, folder)
	}
	return nil
}

// enough reports whether a file of a split has the required samples: all of them, or the limit's
// number. So a part of a set is enough for a trial.
func enough(have, limit, whole int) bool {
	return have == whole || limit > 0 && have >= min(limit, whole)
}
