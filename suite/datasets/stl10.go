package datasets

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The binary version of STL-10: for each split a file of images, each the red, the green and the
// blue plane column by column, and a file of labels, a byte from 1 to 10 each.
const (
	stl10Folder = "stl10_binary"
	stl10Side   = 96
	stl10Image  = 3 * stl10Side * stl10Side
	stl10URL    = "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz"
)

// stl10 is the entry of STL-10 (Coates, Ng, Lee: An analysis of single-layer networks in unsupervised
// feature learning, 2011): all of its labelled images, and none of the others.
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
			Skip: []string{"unlabeled_X.bin"},
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

// readSTL10 reads the first samples of a split that has to have as many: those that a limit asks for,
// or else all.
func readSTL10(dir, name string, limit, whole int) (Split, error) {
	n := limited(limit, whole)
	split := newSplit(stl10Card().Shape, n)
	planes := make([]byte, stl10Image)
	err := readSTL10File(dir, name+"_X.bin", stl10Image, limit, whole, func(sample int, r io.Reader) error {
		if _, err := io.ReadFull(r, planes); err != nil {
			return err
		}
		turnPlanes(split.Image(sample), planes, split.Shape)
		return nil
	})
	if err != nil {
		return Split{}, err
	}
	err = readSTL10File(dir, name+"_y.bin", 1, limit, whole, func(sample int, r io.Reader) error {
		var label [1]byte
		if _, err := io.ReadFull(r, label[:]); err != nil {
			return err
		}
		if label[0] < 1 || label[0] > 10 {
			return &DamagedError{Dataset: "stl10", File: filepath.Join(dir, stl10Folder, name+"_y.bin"), Offset: int64(sample), What: "label",
				Got: fmt.Sprint(label[0]), Want: "1 to 10", Remedy: stl10Remedy(dir)}
		}
		split.Labels[sample] = int32(label[0]) - 1
		return nil
	})
	if err != nil {
		return Split{}, err
	}
	return split, nil
}

// readSTL10File calls read for each of the samples that are asked for, which have so many bytes each.
func readSTL10File(dir, name string, bytes, limit, whole int, read func(sample int, r io.Reader) error) error {
	path := filepath.Join(dir, stl10Folder, name)
	size, err := sizeOf("stl10", dir, path, stl10Remedy(dir))
	if err != nil {
		return err
	}
	if size%int64(bytes) != 0 || !enough(int(size/int64(bytes)), limit, whole) {
		return &DamagedError{Dataset: "stl10", File: path, Offset: min(size, int64(whole*bytes)), What: "size", Got: fmt.Sprintf("%d bytes", size),
			Want: fmt.Sprintf("%d bytes (%d samples of %d)", whole*bytes, whole, bytes), Remedy: stl10Remedy(dir)}
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("datasets: stl10: %w", err)
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 1<<20)
	for sample := range limited(limit, whole) {
		if err := read(sample, r); err != nil {
			return fmt.Errorf("datasets: stl10: %s: %w", path, err)
		}
	}
	return nil
}

// stl10Remedy says how to get the set.
func stl10Remedy(dir string) string {
	return fmt.Sprintf("`benchctl data pull stl10` fetches it; or unpack %s in %s; or name another folder with --data-dir", stl10URL, dir)
}
