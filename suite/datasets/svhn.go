package datasets

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The cropped digits of SVHN: two MAT-files with the images X [32, 32, 3, N] and the labels y [N, 1]; the
// label 10 is the digit 0.
const (
	svhnFolder = "svhn"
	svhnTrain  = "train_32x32.mat"
	svhnTest   = "test_32x32.mat"
	svhnURL    = "http://ufldl.stanford.edu/housenumbers/"
	svhnSide   = 32
)

// svhn is the entry of SVHN (Netzer et al.: Reading digits in natural images with unsupervised
// feature learning, 2011), without its extra images.
func svhn() Entry {
	return Entry{
		Card:    svhnCard(),
		Licence: "for non-commercial use; cite Netzer et al. 2011",
		Origin:  svhnURL,
		Archive: &Archive{
			Downloads: []Download{
				{URL: svhnURL + svhnTrain, Bytes: 182040794, MD5: "e26dedcc434d2e4c54c9b2d4a06d8373", As: svhnTrain},
				{URL: svhnURL + svhnTest, Bytes: 64275384, MD5: "eb5a983be6a315427106f1b164d9cef3", As: svhnTest},
			},
			Folder: svhnFolder,
			Files:  []File{{svhnTrain, 182040794}, {svhnTest, 64275384}},
		},
		Open: openSVHN,
	}
}

// svhnCard has the normalisation and augmentation of the papers' programs.
func svhnCard() Card {
	return Card{
		Name:         "svhn",
		Classes:      10,
		Shape:        Shape{Height: svhnSide, Width: svhnSide, Channels: 3},
		TrainSamples: 73257,
		TestSamples:  26032,
		Mean:         []float64{127.5, 127.5, 127.5},
		Std:          []float64{127.5, 127.5, 127.5},
		Augment:      Augmentation{Pad: 2, Border: BorderZero},
		ClassNames:   []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"},
	}
}

func openSVHN(dir string, opts Options) (*Dataset, error) {
	set := &Dataset{Card: svhnCard()}
	if err := opts.check(set.Name); err != nil {
		return nil, err
	}
	if err := checkDir(set.Name, dir, svhnFolder); err != nil {
		return nil, err
	}
	for _, name := range []string{svhnTrain, svhnTest} {
		if _, err := sizeOf(set.Name, dir, filepath.Join(dir, svhnFolder, name), svhnRemedy(dir)); err != nil {
			return nil, err
		}
	}
	var err error
	if set.Train, err = readSVHNFile(dir, svhnTrain, opts.TrainLimit, set.TrainSamples); err != nil {
		return nil, err
	}
	if set.Test, err = readSVHNFile(dir, svhnTest, opts.TestLimit, set.TestSamples); err != nil {
		return nil, err
	}
	return set, nil
}

func readSVHNFile(dir, name string, limit, whole int) (Split, error) {
	path := filepath.Join(dir, svhnFolder, name)
	file, err := os.Open(path)
	if err != nil {
		return Split{}, fmt.Errorf("svhn: %w", err)
	}
	defer file.Close()
	split, err := readSVHN(bufio.NewReaderSize(file, 1<<20), limit, whole)
	var damaged *DamagedError
	if errors.As(err, &damaged) {
		damaged.Dataset, damaged.File, damaged.Remedy = "svhn", path, svhnRemedy(dir)
		return Split{}, err
	}
	if err != nil {
		return Split{}, fmt.Errorf("svhn: %s: %w", path, err)
	}
	return split, nil
}

// readSVHN reads the first samples of a file: the number given by the limit, or
// all of the split.
func readSVHN(r io.Reader, limit, whole int) (Split, error) {
	shape := svhnCard().Shape
	n := limited(limit, whole)
	split := Split{Shape: shape, N: n}
	images, labels := -1, -1 // how many the file has
	err := readMAT(r, func(v matVariable) (err error) {
		switch v.name {
		case "X":
			if len(v.dims) < 3 || len(v.dims) > 4 || v.dims[0] != svhnSide || v.dims[1] != svhnSide || v.dims[2] != 3 ||
				v.kind != matUint8 {
				return matFault(0, "variable X", fmt.Sprintf("data of type %d with dimensions %v", v.kind, v.dims),
					"bytes with dimensions [32 32 3 N]")
			}
			images = v.count / shape.Bytes()
			if !enough(images, limit, whole) {
				return matFault(0, "variable X", fmt.Sprintf("%d images", images), fmt.Sprintf("%d", whole))
			}
			split.Images = make([]byte, n*shape.Bytes())
			planes := make([]byte, shape.Bytes())
			for sample := range n {
				if _, err := io.ReadFull(v.data, planes); err != nil {
					return matFault(0, fmt.Sprintf("image %d", sample), "truncated or damaged data", "an image")
				}
				turnPlanes(split.Image(sample), planes, shape)
			}
		case "y":
			if labels = v.count; !enough(labels, limit, whole) {
				return matFault(0, "variable y", fmt.Sprintf("%d labels", labels), fmt.Sprintf("%d", whole))
			}
			numbers, err := v.numbers(n)
			if err != nil {
				return matFault(0, "variable y", "the end of the content, or a fault in it", "labels")
			}
			split.Labels = make([]int32, n)
			for i, x := range numbers {
				if x != float64(int(x)) || x < 1 || x > 10 {
					return matFault(0, fmt.Sprintf("label of image %d", i), fmt.Sprint(x), "1 to 10")
				}
				split.Labels[i] = int32(x) % 10
			}
		}
		return nil
	})
	if err != nil {
		return Split{}, err
	}
	if images < 0 || images != labels {
		return Split{}, matFault(0, "variables X and y", fmt.Sprintf("%d images and %d labels", max(images, 0), max(labels, 0)),
			"the same number of both")
	}
	return split, nil
}

// turnPlanes converts three planes [C=3, W, H], column by column, into pixels [H, W, C=3].
func turnPlanes(pixels, planes []byte, s Shape) {
	for c := range 3 {
		for x := range s.Width {
			column := planes[(c*s.Width+x)*s.Height:][:s.Height]
			for y, value := range column {
				pixels[(y*s.Width+x)*3+c] = value
			}
		}
	}
}

// svhnRemedy tells how to get the set.
func svhnRemedy(dir string) string {
	return fmt.Sprintf("`benchctl data pull svhn` fetches it; or put %s%s and %s into %s; or name another folder with --data-dir",
		svhnURL, svhnTrain, svhnTest, filepath.Join(dir, svhnFolder))
}
