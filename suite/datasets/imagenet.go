package datasets

import (
	"errors"
	"fmt"
	"path/filepath"
)

// ImageNet as it is commonly unpacked: two folders, each with one folder per class, whose sorted names are the labels.
const (
	imagenetFolder = "imagenet"
	imagenetTrain  = "train"
	imagenetTest   = "val"
	imagenetSide   = 224
)

// Bounds of --image-size for sets of image files.
const (
	minPictureSide = 8
	maxPictureSide = 1024
)

// shorterSide is the length that the shorter side of a test image is scaled to before the middle is cut out: 256 for images of
// 224 pixels, as in torchvision's recipe, and in the same ratio for others.
func shorterSide(side int) int { return side * 256 / 224 }

// imagenet is the entry of ImageNet's classification set of 2012 (Russakovsky et al.: ImageNet Large Scale Visual
// Recognition Challenge, 2015).
func imagenet() Entry { return imagenetOf(imagenetSide) }

// imagenetOf is imagenet with images of another side.
func imagenetOf(side int) Entry {
	card := imagenetCard()
	card.Height, card.Width = side, side
	return Entry{
		Card:    card,
		Licence: "for non-commercial research and education, after registration",
		Origin:  "https://www.image-net.org/challenges/LSVRC/2012/",
		Archive: &Archive{Folder: imagenetFolder, Access: imagenetRemedy("the data folder")},
		Open:    func(dir string, opts Options) (*Dataset, error) { return openImageNet(dir, card, opts) },
		Sized:   imagenetOf, MinSide: minPictureSide, MaxSide: maxPictureSide,
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

func openImageNet(dir string, card Card, opts Options) (*Dataset, error) {
	if err := checkDir(card.Name, dir, imagenetFolder); err != nil {
		return nil, err
	}
	root := filepath.Join(dir, imagenetFolder)
	set, err := openFolders(card, root, imagenetRemedy(dir), opts)
	var missing *MissingError
	if errors.As(err, &missing) {
		missing.Dir = dir
	}
	var damaged *DamagedError
	if errors.As(err, &damaged) && damaged.What == "folders of classes" && damaged.Got != "none" {
		damaged.Remedy = fmt.Sprintf("ImageNet has %d classes; for other classes use --datasets %s%s, which sizes the "+
			"classifier accordingly", card.Classes, FolderPrefix, root)
	}
	return set, err
}

// imagenetRemedy tells how to get the set.
func imagenetRemedy(dir string) string {
	return fmt.Sprintf("register at https://www.image-net.org, download ILSVRC2012's training and validation images, and unpack "+
		"them in %s so that %s and %s hold a folder for each class (n01440764 and so on)",
		dir, filepath.Join(imagenetFolder, imagenetTrain), filepath.Join(imagenetFolder, imagenetTest))
}
