package datasets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// ImageNet as it is commonly unpacked: two folders, each with a folder a class, whose names in order are the labels.
const (
	imagenetFolder  = "imagenet"
	imagenetTrain   = "train"
	imagenetTest    = "val"
	imagenetSide    = 224
	imagenetShorter = 256
)

// imagenet is the entry of ImageNet's classification set of 2012 (Russakovsky et al.: ImageNet Large Scale Visual
// Recognition Challenge, 2015).
func imagenet() Entry {
	return Entry{
		Card:    imagenetCard(),
		Licence: "for non-commercial research and education, after registration",
		Origin:  "https://www.image-net.org/challenges/LSVRC/2012/",
		Archive: &Archive{Folder: imagenetFolder, Access: imagenetRemedy("the data folder")},
		Open:    openImageNet,
	}
}

// imagenetCard has the normalisation and augmentation of the papers' programs. Its classes are named by their
// folders.
func imagenetCard() Card {
	return Card{
		Name:         "imagenet",
		Classes:      1000,
		Shape:        Shape{Height: imagenetSide, Width: imagenetSide, Channels: 3},
		TrainSamples: 1281167,
		TestSamples:  50000,
		Mean:         []float64{0.485 * 255, 0.456 * 255, 0.406 * 255},
		Std:          []float64{0.229 * 255, 0.224 * 255, 0.225 * 255},
		Augment:      Augmentation{ResizedCrop: true, Flip: true},
	}
}

func openImageNet(dir string, opts Options) (*Dataset, error) {
	set := &Dataset{Card: imagenetCard()}
	if err := opts.check(set.Name); err != nil {
		return nil, err
	}
	if err := checkDir(set.Name, dir, imagenetFolder); err != nil {
		return nil, err
	}
	root := filepath.Join(dir, imagenetFolder)
	classes, err := imagenetClasses(dir, filepath.Join(root, imagenetTrain))
	if err != nil {
		return nil, err
	}
	test, err := imagenetClasses(dir, filepath.Join(root, imagenetTest))
	if err != nil {
		return nil, err
	}
	damaged := func(path, what, got, want string) error {
		return &DamagedError{Dataset: set.Name, File: path, Offset: -1, What: what, Got: got, Want: want, Remedy: imagenetRemedy(dir)}
	}
	if !slices.Equal(classes, test) {
		return nil, damaged(filepath.Join(root, imagenetTest), "folders of classes", fmt.Sprintf("%d", len(test)),
			fmt.Sprintf("the %d of %s", len(classes), filepath.Join(root, imagenetTrain)))
	}
	if n := len(classes); n > set.Classes || n < set.Classes && (opts.TrainLimit == 0 || opts.TestLimit == 0) {
		return nil, damaged(root, "folders of classes", fmt.Sprint(n), fmt.Sprint(set.Classes))
	}
	for _, s := range []struct {
		split        *Split
		name         string
		limit, whole int
	}{{&set.Train, imagenetTrain, opts.TrainLimit, set.TrainSamples}, {&set.Test, imagenetTest, opts.TestLimit, set.TestSamples}} {
		pictures, err := listPictures(filepath.Join(root, s.name), classes)
		if err != nil {
			return nil, fmt.Errorf("datasets: imagenet: %w", err)
		}
		if have := len(pictures.files); !enough(have, s.limit, s.whole) {
			return nil, damaged(filepath.Join(root, s.name), "pictures", fmt.Sprint(have), fmt.Sprint(limited(s.limit, s.whole)))
		}
		pictures.dataset, pictures.remedy, pictures.shorter = set.Name, imagenetRemedy(dir), imagenetShorter
		pictures.files = pictures.files[:limited(s.limit, s.whole)]
		*s.split = Split{Shape: set.Shape, N: len(pictures.files), Labels: pictures.labels(), Pictures: &pictures}
	}
	return set, nil
}

// imagenetClasses lists the folders of classes in a split's folder.
func imagenetClasses(dir, root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &MissingError{Dataset: "imagenet", Dir: dir, Want: root, Remedy: imagenetRemedy(dir)}
	}
	if err != nil {
		return nil, fmt.Errorf("datasets: imagenet: %w", err)
	}
	var classes []string
	for _, e := range entries {
		if status, err := os.Stat(filepath.Join(root, e.Name())); err == nil && status.IsDir() { // or a link to one
			classes = append(classes, e.Name())
		}
	}
	if classes == nil {
		return nil, &DamagedError{Dataset: "imagenet", File: root, Offset: -1, What: "folders of classes", Got: "none", Want: "1000, each with the pictures of a class", Remedy: imagenetRemedy(dir)}
	}
	return classes, nil
}

// imagenetRemedy says how to get the set.
func imagenetRemedy(dir string) string {
	return fmt.Sprintf("register at https://www.image-net.org, download ILSVRC2012's training and validation images, and unpack them in %s so that %s and %s hold a folder for each class (n01440764 and so on)",
		dir, filepath.Join(imagenetFolder, imagenetTrain), filepath.Join(imagenetFolder, imagenetTest))
}
