// Package datasets holds the image sets that networks are trained on, and the
// loader that turns them into batches.
//
// In goes a folder, out comes a Dataset: all images of both splits in memory as
// bytes in the order [N, H, W, C], so that a step never waits for a disk and the
// host memory a set takes is known from its card. A set too large for that (ImageNet) is a list of
// picture files, which the loader decodes batch by batch. Normalisation is not done
// here: the loader hands out bytes (a quarter of the traffic of float32) and
// the compute core subtracts Mean and divides by Std on the device.
//
// Every random choice, the order of an epoch, a crop, a flip, is addressed by
// (seed, purpose, epoch, sample) through core/rng. So the batches of an epoch
// are the same for one worker and for eight, from the start and resumed.
//
// A set is a file of this package and a line in list.go. A set on disk is
// checked as it is read, and an error names the file, the byte and what would
// be right there.
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

// Card is what is known of a set without opening it: enough to plan a step.
type Card struct {
	Name    string
	Classes int
	Shape
	// TrainSamples and TestSamples are the sizes of the splits when no limit is set.
	TrainSamples, TestSamples int
	// MaxTrainSamples and MaxTestSamples are the largest limits of a set that is made; 0 for those
	// of files, of which a larger limit takes all.
	MaxTrainSamples, MaxTestSamples int
	// Mean and Std are the normalisation of each channel, in units of 0..255:
	// the network sees (pixel - Mean) / Std.
	Mean, Std []float64
	// Augment is the training recipe's augmentation; test images have none.
	Augment Augmentation
	// ClassNames has one name a class, in the order of the labels; nil where folders name them.
	ClassNames []string
}

// Dataset is a set that can be trained on.
type Dataset struct {
	Card
	Train, Test Split
}

// Verify reads what opening a set has not read.
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

// Split is one half of a set. It is read only once made: loaders share it.
type Split struct {
	Shape
	N      int
	Images []byte  // [N, Height, Width, Channels]; nil where Pictures has them
	Labels []int32 // [N], each in 0..Classes-1
	// Pictures are files that have to be decoded; nil where Images has all.
	Pictures *Pictures
}

// Image returns the pixels of one sample, without copying them. A split of Pictures has none.
func (s Split) Image(sample int) []byte {
	size := s.Shape.Bytes()
	return s.Images[sample*size : (sample+1)*size : (sample+1)*size]
}

// Slice returns the samples from..to-1 without copying them: the first N of a
// split, or the two parts of a training split with a validation part. Note that
// a part counts its samples from 0 again, and so do its random choices.
func (s Split) Slice(from, to int) (Split, error) {
	if from < 0 || to < from || to > s.N {
		return Split{}, fmt.Errorf("datasets: slice of a split: got samples %d to %d, want within 0 to %d", from, to, s.N)
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

// newSplit makes room for n samples.
func newSplit(shape Shape, n int) Split {
	return Split{Shape: shape, N: n, Images: make([]byte, n*shape.Bytes()), Labels: make([]int32, n)}
}

// check tells whether the fields of a split fit one another.
func (s Split) check() error {
	if s.N < 1 || s.Height < 1 || s.Width < 1 || s.Channels < 1 {
		return fmt.Errorf("datasets: split: got %d samples of %dx%dx%d, want at least one of each", s.N, s.Height, s.Width, s.Channels)
	}
	if s.Pictures != nil {
		if s.Channels != 3 || len(s.Pictures.files) != s.N {
			return fmt.Errorf("datasets: split: pictures: got %d of %d channels, want %d of 3", len(s.Pictures.files), s.Channels, s.N)
		}
	} else if want := s.N * s.Shape.Bytes(); len(s.Images) != want {
		return fmt.Errorf("datasets: split: pixels: got %d bytes, want %d", len(s.Images), want)
	}
	if len(s.Labels) != s.N {
		return fmt.Errorf("datasets: split: labels: got %d, want %d", len(s.Labels), s.N)
	}
	return nil
}

// Options says how much of a set is opened. The zero value opens all of it.
type Options struct {
	// TrainLimit and TestLimit keep the first N samples; 0 keeps the set's own
	// number, and so does more than it has. A generated set makes as many as
	// asked for, up to its own bounds.
	TrainLimit, TestLimit int
	// Seed makes another generated set; sets from files ignore it. It is not
	// the seed of a run: runs with several seeds should see the same images.
	Seed uint64
}

// check tells whether the limits make sense.
func (o Options) check(dataset string) error {
	if o.TrainLimit < 0 {
		return fmt.Errorf("datasets: %s: train limit: got %d, want 0 (all) or more", dataset, o.TrainLimit)
	}
	if o.TestLimit < 0 {
		return fmt.Errorf("datasets: %s: test limit: got %d, want 0 (all) or more", dataset, o.TestLimit)
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

// MissingError says that a set, or a file of it, is not on this machine. A
// caller may fall back to the synthetic set, or print the hint.
type MissingError struct {
	Dataset string
	Dir     string // the data folder that was searched
	Want    string // the path that would have to exist
	Remedy  string // how to get it, a sentence
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("datasets: %s: not found in %s: want %s", e.Dataset, e.Dir, e.Want)
}

// Hint says how to get the set.
func (e *MissingError) Hint() string { return e.Remedy }

// DamagedError says that a file of a set is there but is not what it should be.
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
	return fmt.Sprintf("datasets: %s: %s: %s: got %s, want %s", e.Dataset, place, e.What, e.Got, e.Want)
}

// Hint says how to get a good copy.
func (e *DamagedError) Hint() string { return e.Remedy }

// sizeOf is the size of a file of a set; an absent one gives a *MissingError.
func sizeOf(dataset, dir, path, remedy string) (int64, error) {
	status, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, &MissingError{Dataset: dataset, Dir: dir, Want: path, Remedy: remedy}
	}
	if err != nil {
		return 0, fmt.Errorf("datasets: %s: %w", dataset, err)
	}
	if !status.Mode().IsRegular() {
		return 0, fmt.Errorf("datasets: %s: %s: got %s, want a regular file", dataset, path, status.Mode().Type())
	}
	return status.Size(), nil
}

// checkDir refuses an empty name of a data folder.
func checkDir(dataset, dir, folder string) error {
	if dir == "" {
		return fmt.Errorf("datasets: %s: data folder: got an empty path, want a folder that holds %s", dataset, folder)
	}
	return nil
}

// enough tells whether a file of a split has the samples that are asked for: all of them, or with a
// limit that many. So a part of a set serves for a try.
func enough(have, limit, whole int) bool {
	return have == whole || limit > 0 && have >= min(limit, whole)
}
