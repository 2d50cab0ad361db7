package datasets

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The binary version of CIFAR-10: six files of 10000 records. A record is a
// label byte followed by the red, green and blue planes of a 32x32 image.
const (
	cifar10Folder  = "cifar-10-batches-bin"
	cifar10Records = 10000
	cifar10Plane   = 32 * 32
	cifar10Record  = 1 + 3*cifar10Plane
	cifar10Size    = cifar10Records * cifar10Record
	cifar10URL     = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
)

// cifar10 is the entry of CIFAR-10 (Krizhevsky: Learning multiple layers of
// features from tiny images, 2009).
func cifar10() Entry {
	archive := &Archive{
		Downloads: []Download{{URL: cifar10URL, Bytes: 170052171, MD5: "c32a1d4ab5d03f1284b67883e8d87530"}}, Folder: cifar10Folder,
	}
	for _, name := range append(cifar10TrainFiles(), cifar10TestFile) {
		archive.Files = append(archive.Files, File{Name: name, Bytes: cifar10Size})
	}
	return Entry{
		Card:    cifar10Card(),
		Licence: "no licence given; for research, cite Krizhevsky 2009",
		Origin:  "https://www.cs.toronto.edu/~kriz/cifar.html",
		Archive: archive,
		Open:    openCIFAR10,
	}
}

// cifar10Card has the normalisation and augmentation of the usual recipe.
func cifar10Card() Card {
	return Card{
		Name:         "cifar10",
		Classes:      10,
		Shape:        Shape{Height: 32, Width: 32, Channels: 3},
		TrainSamples: 5 * cifar10Records,
		TestSamples:  cifar10Records,
		Mean:         []float64{125.3, 123.0, 113.9},
		Std:          []float64{63.0, 62.1, 66.7},
		Augment:      Augmentation{Pad: 4, Border: BorderReflect, Flip: true},
		ClassNames:   []string{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"},
	}
}

const cifar10TestFile = "test_batch.bin"

func cifar10TrainFiles() []string {
	return []string{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"}
}

// openCIFAR10 checks the sizes of all six files and reads the number of records
// given by the limits.
func openCIFAR10(dir string, opts Options) (*Dataset, error) {
	set := &Dataset{Card: cifar10Card()}
	if err := opts.check(set.Name); err != nil {
		return nil, err
	}
	if err := checkDir(set.Name, dir, cifar10Folder); err != nil {
		return nil, err
	}
	train := cifar10TrainFiles()
	for _, name := range append(train, cifar10TestFile) {
		if err := checkCIFAR10File(dir, name); err != nil {
			return nil, err
		}
	}
	var err error
	if set.Train, err = readCIFAR10Files(dir, train, limited(opts.TrainLimit, set.TrainSamples)); err != nil {
		return nil, err
	}
	if set.Test, err = readCIFAR10Files(dir, []string{cifar10TestFile}, limited(opts.TestLimit, set.TestSamples)); err != nil {
		return nil, err
	}
	return set, nil
}

// checkCIFAR10File checks that a file exists and has the right size.
func checkCIFAR10File(dir, name string) error {
	path := filepath.Join(dir, cifar10Folder, name)
	size, err := sizeOf("cifar10", dir, path, cifar10Remedy(dir))
	if err != nil {
		return err
	}
	if size != cifar10Size {
		return &DamagedError{
			Dataset: "cifar10", File: path, Offset: min(size, cifar10Size), What: "size",
			Got:    fmt.Sprintf("%d bytes", size),
			Want:   fmt.Sprintf("%d bytes (%d records of %d)", cifar10Size, cifar10Records, cifar10Record),
			Remedy: cifar10Remedy(dir),
		}
	}
	return nil
}

// readCIFAR10Files reads the first n records of the files one after another.
func readCIFAR10Files(dir string, names []string, n int) (Split, error) {
	split := newSplit(cifar10Card().Shape, n)
	for k, name := range names {
		first := min(k*cifar10Records, n)
		part, err := split.Slice(first, min(first+cifar10Records, n))
		if err != nil {
			return Split{}, err
		}
		if part.N == 0 {
			break
		}
		if err := readCIFAR10File(dir, name, part); err != nil {
			return Split{}, err
		}
	}
	return split, nil
}

// readCIFAR10File fills dst from the start of a file.
func readCIFAR10File(dir, name string, dst Split) error {
	path := filepath.Join(dir, cifar10Folder, name)
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cifar10: %w", err)
	}
	defer file.Close()
	err = readCIFAR10(bufio.NewReaderSize(file, 64*cifar10Record), dst)
	var damaged *DamagedError
	if errors.As(err, &damaged) {
		damaged.File, damaged.Remedy = path, cifar10Remedy(dir)
		return err
	}
	if err != nil {
		return fmt.Errorf("cifar10: %s: %w", path, err)
	}
	return nil
}

// readCIFAR10 fills dst with the first dst.N records of r.
func readCIFAR10(r io.Reader, dst Split) error {
	var record [cifar10Record]byte
	for sample := range dst.N {
		offset := int64(sample) * cifar10Record
		n, err := io.ReadFull(r, record[:])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return &DamagedError{
				Dataset: "cifar10", Offset: offset + int64(n), What: fmt.Sprintf("record %d", sample),
				Got: fmt.Sprintf("%d bytes", n), Want: fmt.Sprintf("%d bytes", cifar10Record),
			}
		}
		if err != nil {
			return fmt.Errorf("byte %d: %w", offset, err)
		}
		if record[0] > 9 {
			return &DamagedError{
				Dataset: "cifar10", Offset: offset, What: fmt.Sprintf("label of record %d", sample),
				Got: fmt.Sprint(record[0]), Want: "0 to 9",
			}
		}
		dst.Labels[sample] = int32(record[0])
		interleave(dst.Image(sample), record[1:])
	}
	return nil
}

// interleave converts three planes [C=3, H, W] into pixels [H, W, C=3].
func interleave(pixels, planes []byte) {
	n := len(planes) / 3
	red, green, blue := planes[:n], planes[n:2*n], planes[2*n:3*n]
	for i := range red {
		pixel := pixels[3*i : 3*i+3 : 3*i+3]
		pixel[0], pixel[1], pixel[2] = red[i], green[i], blue[i]
	}
}

// cifar10Remedy tells how to get the set.
func cifar10Remedy(dir string) string {
	return fmt.Sprintf("`benchctl data pull cifar10` fetches it; or unpack %s in %s, so that it holds the folder %s with six files of %d bytes; or name another folder with --data-dir",
		cifar10URL, dir, cifar10Folder, cifar10Size)
}
