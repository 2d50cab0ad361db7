package datasets

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The binary version of STL-10: for each split a file of images, each with its red, green and
// blue planes in column-major order, and a file of labels, each a byte from 1 to 10.
const (
	stl10Folder = "stl10_binary"
	stl10Side   = 96
	stl10Image  = 3 * stl10Side * stl10Side
	stl10URL    = "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz"
)

// stl10 is the entry of STL-10 (Coates, Ng, Lee: An analysis of single-layer networks in unsupervised
// feature learning, 2011): its labelled images only.
func stl10() Entry {
	card := stl10Card()
	return Entry{
		Card:    card,
		Licence: "no licence given; images from ImageNet, cite Coates et al. 2011",
		Origin:  "https://cs.stanford.edu/~acoates/stl10/",
		Archive: &Archive{
			Downloads: []Download{{URL: stl10URL, Bytes: 2640397119, MD5: "91f7769df0f17e558f3565bffb0c7dfb"}},
			Folder:    stl10Folder,
			Files: []File{{"train_X.bin", int64(card.TrainSamples) * stl10Image}, {"train_y.bin", int64(card.TrainSamples)},
				{"test_X.bin", int64(card.TestSamples) * stl10Image}, {"test_y.bin", int64(card.TestSamples)}},
		},
		Open: openSTL10,
	}
}

// stl10Card has the normalisation and augmentation of the papers' programs.
func stl10Card() Card {
	return Card{
		Name:         "stl10",
		Classes:      10,
		Shape:        Shape{Height: stl10Side, Width: stl10Side, Channels: 3},
		TrainSamples: 5000,
		TestSamples:  8000,
		Mean:         []float64{127.5, 127.5, 127.5},
		Std:          []float64{127.5, 127.5, 127.5},
		Augment:      Augmentation{Pad: 4, Border: BorderZero, Flip: true},
		ClassNames:   []string{"airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"},
	}
}

func openSTL10(dir string, opts Options) (*Dataset, error) {
	set := &Dataset{Card: stl10Card()}
	if err := opts.check(set.Name); err != nil {
		return nil, err
	}
	if err := checkDir(set.Name, dir, stl10Folder); err != nil {
		return nil, err
	}
	var err error
	if set.Train, err = readSTL10(dir, "train", opts.TrainLimit, set.TrainSamples); err != nil {
		return nil, err
	}
	if set.Test, err = readSTL10(dir, "test", opts.TestLimit, set.TestSamples); err != nil {
		return nil, err
	}
	return set, nil
}

// readSTL10 reads the first samples of a split: the number given by the limit, or
// all.
func readSTL10(dir, name string, limit, whole int) (Split, error) {
	split := newSplit(stl10Card().Shape, limited(limit, whole))
	err := readSTL10File(dir, name+"_X.bin", stl10Image, limit, whole, func(r io.Reader) error { return readSTL10Images(r, split) })
	if err != nil {
		return Split{}, err
	}
	err = readSTL10File(dir, name+"_y.bin", 1, limit, whole, func(r io.Reader) error { return readSTL10Labels(r, split) })
	if err != nil {
		return Split{}, err
	}
	return split, nil
}

// readSTL10Images fills the images of a split.
func readSTL10Images(r io.Reader, split Split) error {
	planes := make([]byte, 3*split.Height*split.Width)
	for sample := range split.N {
		if _, err := io.ReadFull(r, planes); err != nil {
			return fmt.Errorf("image %d: %w", sample, err)
		}
		turnPlanes(split.Image(sample), planes, split.Shape)
	}
	return nil
}

// readSTL10Labels fills the labels of a split.
func readSTL10Labels(r io.Reader, split Split) error {
	labels := make([]byte, split.N)
	if _, err := io.ReadFull(r, labels); err != nil {
		return fmt.Errorf("labels: %w", err)
	}
	for sample, label := range labels {
		if label < 1 || label > 10 {
			return &DamagedError{Offset: int64(sample), What: "label", Got: fmt.Sprint(label), Want: "1 to 10"}
		}
		split.Labels[sample] = int32(label) - 1
	}
	return nil
}

// readSTL10File checks that a file has the required number of samples, of the given size each, and calls read.
func readSTL10File(dir, name string, bytes, limit, whole int, read func(io.Reader) error) error {
	path := filepath.Join(dir, stl10Folder, name)
	size, err := sizeOf("stl10", dir, path, stl10Remedy(dir))
	if err != nil {
		return err
	}
	if size%int64(bytes) != 0 || !enough(int(size/int64(bytes)), limit, whole) {
		return &DamagedError{Dataset: "stl10", File: path, Offset: min(size, int64(whole*bytes)), What: "size",
			Got: fmt.Sprintf("%d bytes", size), Want: fmt.Sprintf("%d bytes (%d samples of %d)", whole*bytes, whole, bytes),
			Remedy: stl10Remedy(dir)}
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("stl10: %w", err)
	}
	defer file.Close()
	err = read(bufio.NewReaderSize(file, 1<<20))
	var damaged *DamagedError
	if errors.As(err, &damaged) {
		damaged.Dataset, damaged.File, damaged.Remedy = "stl10", path, stl10Remedy(dir)
		return err
	}
	if err != nil {
		return fmt.Errorf("stl10: %s: %w", path, err)
	}
	return nil
}

// stl10Remedy says how to get the set.
func stl10Remedy(dir string) string {
	return fmt.Sprintf("`benchctl data pull stl10` fetches it; or unpack %s in %s; or name another folder with --data-dir",
		stl10URL, dir)
}
