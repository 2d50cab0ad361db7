package datasets

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// cifarPlane is one channel of a 32x32 image of CIFAR-10 and CIFAR-100.
const cifarPlane = 32 * 32

// cifarFiles is the binary version of a CIFAR set: files of records. A record is the label bytes, of which the last is the label
// that is read, followed by the red, green and blue planes of a 32x32 image.
type cifarFiles struct {
	name, folder, url string
	labels            []byte // the largest value of each label byte
	train             []string
	test              string
	trainRecords      int // in each file of train
	testRecords       int
}

// cifar10Files are those of CIFAR-10: one label byte, the class.
var cifar10Files = cifarFiles{
	name: "cifar10", folder: "cifar-10-batches-bin", url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
	labels:       []byte{9},
	train:        []string{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
	trainRecords: 10000, test: "test_batch.bin", testRecords: 10000,
}

// cifar100Files are those of CIFAR-100: two label bytes, one of 20 coarse classes and one of 100 fine ones.
var cifar100Files = cifarFiles{
	name: "cifar100", folder: "cifar-100-binary", url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
	labels: []byte{19, 99},
	train:  []string{"train.bin"}, trainRecords: 50000, test: "test.bin", testRecords: 10000,
}

// cifar10 is the entry of CIFAR-10 (Krizhevsky: Learning multiple layers of
// features from tiny images, 2009).
func cifar10() Entry {
	return cifar10Files.entry(cifar10Card(), Download{Bytes: 170052171, MD5: "c32a1d4ab5d03f1284b67883e8d87530"})
}

// cifar100 is the entry of CIFAR-100 (Krizhevsky, 2009), with its 100 fine classes.
func cifar100() Entry {
	return cifar100Files.entry(cifar100Card(), Download{Bytes: 168513733, MD5: "03b5dce01913d631647c71ecec9e9cb8"})
}

// entry is the entry of the set in these files. The archive has the URL of the files.
func (c cifarFiles) entry(card Card, archive Download) Entry {
	archive.URL = c.url
	e := Entry{
		Card:    card,
		Licence: "no licence given; for research, cite Krizhevsky 2009",
		Origin:  "https://www.cs.toronto.edu/~kriz/cifar.html",
		Archive: &Archive{Downloads: []Download{archive}, Folder: c.folder},
		Open:    func(dir string, opts Options) (*Dataset, error) { return c.open(dir, card, opts) },
	}
	for _, name := range append(c.train[:len(c.train):len(c.train)], c.test) {
		e.Archive.Files = append(e.Archive.Files, File{Name: name, Bytes: c.size(name)})
	}
	return e
}

// cifarCard has what CIFAR-10 and CIFAR-100 share, with the augmentation of the usual recipe.
func cifarCard() Card {
	return Card{
		Shape:        Shape{Height: 32, Width: 32, Channels: 3},
		TrainSamples: 50000,
		TestSamples:  10000,
		Augment:      Augmentation{Pad: 4, Border: BorderReflect, Flip: true},
	}
}

// cifar10Card has the normalisation of the usual recipe.
func cifar10Card() Card {
	c := cifarCard()
	c.Name, c.Classes = "cifar10", 10
	c.Mean, c.Std = []float64{125.3, 123.0, 113.9}, []float64{63.0, 62.1, 66.7}
	c.ClassNames = []string{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"}
	return c
}

// cifar100Card has the normalisation of the usual recipe, and the fine classes.
func cifar100Card() Card {
	c := cifarCard()
	c.Name, c.Classes = "cifar100", 100
	c.Mean, c.Std = []float64{129.3, 124.1, 112.4}, []float64{68.2, 65.4, 70.4}
	c.ClassNames = []string{
		"apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
		"bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
		"chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
		"dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
		"lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
		"mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
		"plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
		"rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
		"squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
		"train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
	}
	return c
}

// record is the size of a record in bytes.
func (c cifarFiles) record() int { return len(c.labels) + 3*cifarPlane }

// records is the number of records of a file.
func (c cifarFiles) records(name string) int {
	if name == c.test {
		return c.testRecords
	}
	return c.trainRecords
}

// size is the size of a file in bytes.
func (c cifarFiles) size(name string) int64 { return int64(c.records(name)) * int64(c.record()) }

// open checks the sizes of all files and reads the number of records
// given by the limits.
func (c cifarFiles) open(dir string, card Card, opts Options) (*Dataset, error) {
	set := &Dataset{Card: card}
	if err := opts.check(c.name); err != nil {
		return nil, err
	}
	if err := checkDir(c.name, dir, c.folder); err != nil {
		return nil, err
	}
	for _, name := range append(c.train[:len(c.train):len(c.train)], c.test) {
		if err := c.checkFile(dir, name); err != nil {
			return nil, err
		}
	}
	var err error
	if set.Train, err = c.readFiles(dir, c.train, card.Shape, limited(opts.TrainLimit, set.TrainSamples)); err != nil {
		return nil, err
	}
	set.Test, err = c.readFiles(dir, []string{c.test}, card.Shape, limited(opts.TestLimit, set.TestSamples))
	if err != nil {
		return nil, err
	}
	return set, nil
}

// checkFile checks that a file exists and has the right size.
func (c cifarFiles) checkFile(dir, name string) error {
	path := filepath.Join(dir, c.folder, name)
	size, err := sizeOf(c.name, dir, path, c.remedy(dir))
	if err != nil {
		return err
	}
	if want := c.size(name); size != want {
		return &DamagedError{
			Dataset: c.name, File: path, Offset: min(size, want), What: "size",
			Got:    fmt.Sprintf("%d bytes", size),
			Want:   fmt.Sprintf("%d bytes (%d records of %d)", want, c.records(name), c.record()),
			Remedy: c.remedy(dir),
		}
	}
	return nil
}

// readFiles reads the first n records of the files one after another.
func (c cifarFiles) readFiles(dir string, names []string, shape Shape, n int) (Split, error) {
	split := newSplit(shape, n)
	first := 0
	for _, name := range names {
		end := min(first+c.records(name), n)
		part, err := split.Slice(first, end)
		if err != nil {
			return Split{}, err
		}
		if part.N == 0 {
			break
		}
		if err := c.readFile(dir, name, part); err != nil {
			return Split{}, err
		}
		first = end
	}
	return split, nil
}

// readFile fills dst from the start of a file.
func (c cifarFiles) readFile(dir, name string, dst Split) error {
	path := filepath.Join(dir, c.folder, name)
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	defer file.Close()
	err = c.read(bufio.NewReaderSize(file, 64*c.record()), dst)
	var damaged *DamagedError
	if errors.As(err, &damaged) {
		damaged.File, damaged.Remedy = path, c.remedy(dir)
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %s: %w", c.name, path, err)
	}
	return nil
}

// read fills dst with the first dst.N records of r.
func (c cifarFiles) read(r io.Reader, dst Split) error {
	record := make([]byte, c.record())
	for sample := range dst.N {
		offset := int64(sample) * int64(len(record))
		n, err := io.ReadFull(r, record)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return &DamagedError{
				Dataset: c.name, Offset: offset + int64(n), What: fmt.Sprintf("record %d", sample),
				Got: fmt.Sprintf("%d bytes", n), Want: fmt.Sprintf("%d bytes", len(record)),
			}
		}
		if err != nil {
			return fmt.Errorf("byte %d: %w", offset, err)
		}
		for i, largest := range c.labels {
			if record[i] > largest {
				return &DamagedError{
					Dataset: c.name, Offset: offset + int64(i), What: fmt.Sprintf("label of record %d", sample),
					Got: fmt.Sprint(record[i]), Want: fmt.Sprintf("0 to %d", largest),
				}
			}
		}
		dst.Labels[sample] = int32(record[len(c.labels)-1])
		interleave(dst.Image(sample), record[len(c.labels):])
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

// remedy tells how to get the set.
func (c cifarFiles) remedy(dir string) string {
	size := fmt.Sprintf("%d files of %d bytes", len(c.train)+1, c.size(c.test))
	if c.size(c.train[0]) != c.size(c.test) {
		size = fmt.Sprintf("%s of %d bytes and %s of %d", c.train[0], c.size(c.train[0]), c.test, c.size(c.test))
	}
	return fmt.Sprintf("`benchctl data pull %s` fetches it; or unpack %s in %s, so that it holds the folder %s with %s; "+
		"or name another folder with --data-dir", c.name, c.url, dir, c.folder, size)
}
