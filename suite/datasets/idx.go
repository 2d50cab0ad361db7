package datasets

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// idxSide is the side of the images of MNIST and Fashion-MNIST in pixels.
const idxSide = 28

// idxFiles is a set in the format of MNIST: for each split a file of grey images, bytes [N, 28, 28], and a file of labels, bytes
// [N]. Each begins with a magic number and its dimensions, as big-endian words of 32 bits.
type idxFiles struct {
	name, folder string
	url          string // of the folder of the published files
}

var (
	mnistFiles        = idxFiles{name: "mnist", folder: "mnist", url: "https://ossci-datasets.s3.amazonaws.com/mnist/"}
	fashionMNISTFiles = idxFiles{name: "fashionmnist", folder: "fashion-mnist",
		url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"}
)

// The files of a set, as they are published: compressed with gzip.
const (
	idxTrainImages = "train-images-idx3-ubyte.gz"
	idxTrainLabels = "train-labels-idx1-ubyte.gz"
	idxTestImages  = "t10k-images-idx3-ubyte.gz"
	idxTestLabels  = "t10k-labels-idx1-ubyte.gz"
)

// Magic numbers: 0x08 is the type byte, the last digit the number of dimensions.
const (
	idxImages = 0x803
	idxLabels = 0x801
)

// mnist is the entry of MNIST (LeCun, Cortes, Burges: The MNIST database of handwritten digits, 1998). It is trained without
// augmentation.
func mnist() Entry {
	card := idxCard()
	card.Name = "mnist"
	card.Mean, card.Std = []float64{0.1307 * 255}, []float64{0.3081 * 255}
	card.ClassNames = []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}
	e := mnistFiles.entry(card, []Download{
		{Bytes: 9912422, MD5: "f68b3c2dcbeaaa9fbdd348bbdeb94873", As: idxTrainImages},
		{Bytes: 28881, MD5: "d53e105ee54ea40749a09fcbcd1e9432", As: idxTrainLabels},
		{Bytes: 1648877, MD5: "9fb629c4189551a2d022fa330f9573f3", As: idxTestImages},
		{Bytes: 4542, MD5: "ec29112dd5afa0611ce80d1b7f02629c", As: idxTestLabels},
	})
	e.Licence = "none given; commonly said to be CC BY-SA 3.0; cite LeCun et al. 1998"
	e.Origin = "http://yann.lecun.com/exdb/mnist/"
	return e
}

// fashionMNIST is the entry of Fashion-MNIST (Xiao, Rasul, Vollgraf, 2017), with the augmentation that papers use.
func fashionMNIST() Entry {
	card := idxCard()
	card.Name = "fashionmnist"
	card.Mean, card.Std = []float64{0.2860 * 255}, []float64{0.3530 * 255}
	card.Augment = Augmentation{Pad: 4, Border: BorderZero, Flip: true}
	card.ClassNames = []string{"T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
		"ankle boot"}
	e := fashionMNISTFiles.entry(card, []Download{
		{Bytes: 26421880, MD5: "8d4fb7e6c68d591d4c3dfef9ec88bf0d", As: idxTrainImages},
		{Bytes: 29515, MD5: "25c81989df183df01b3e8a0aad5dffbe", As: idxTrainLabels},
		{Bytes: 4422102, MD5: "bef4ecab320f06d8554ea6380940ec79", As: idxTestImages},
		{Bytes: 5148, MD5: "bb300cfdad3c16e7a12a480ee83cd310", As: idxTestLabels},
	})
	e.Licence, e.Origin = "MIT", "https://github.com/zalandoresearch/fashion-mnist"
	return e
}

// idxCard has what both sets share. Images have one channel.
func idxCard() Card {
	return Card{Classes: 10, Shape: Shape{Height: idxSide, Width: idxSide, Channels: 1}, TrainSamples: 60000, TestSamples: 10000}
}

// entry is the entry of the set in these files.
func (x idxFiles) entry(card Card, downloads []Download) Entry {
	archive := &Archive{Folder: x.folder, Downloads: downloads}
	for i := range downloads {
		downloads[i].URL = x.url + downloads[i].As
		archive.Files = append(archive.Files, File{Name: downloads[i].As, Bytes: downloads[i].Bytes})
	}
	return Entry{Card: card, Archive: archive, Open: func(dir string, opts Options) (*Dataset, error) {
		return x.open(dir, card, opts)
	}}
}

func (x idxFiles) open(dir string, card Card, opts Options) (*Dataset, error) {
	set := &Dataset{Card: card}
	if err := opts.check(x.name); err != nil {
		return nil, err
	}
	if err := checkDir(x.name, dir, x.folder); err != nil {
		return nil, err
	}
	for _, s := range []struct {
		split          *Split
		images, labels string
		limit, whole   int
	}{{&set.Train, idxTrainImages, idxTrainLabels, opts.TrainLimit, set.TrainSamples},
		{&set.Test, idxTestImages, idxTestLabels, opts.TestLimit, set.TestSamples}} {
		*s.split = newSplit(card.Shape, limited(s.limit, s.whole))
		labels := make([]byte, s.split.N)
		for _, f := range []struct {
			name    string
			magic   uint32
			content []byte
		}{{s.images, idxImages, s.split.Images}, {s.labels, idxLabels, labels}} {
			err := x.read(dir, f.name, func(r io.Reader) error { return readIDX(r, f.magic, f.content, s.limit, s.whole) })
			if err != nil {
				return nil, err
			}
		}
		for sample, label := range labels {
			s.split.Labels[sample] = int32(label)
		}
	}
	return set, nil
}

// read opens a file, which may lie there compressed, as published, or unpacked, and passes its content to use.
func (x idxFiles) read(dir, name string, use func(io.Reader) error) error {
	path := filepath.Join(dir, x.folder, name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if plain := strings.TrimSuffix(path, ".gz"); isRegular(plain) {
			path = plain
		}
	}
	if _, err := sizeOf(x.name, dir, path, x.remedy(dir)); err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", x.name, err)
	}
	defer file.Close()
	var content io.Reader = bufio.NewReaderSize(file, 1<<16)
	if strings.HasSuffix(path, ".gz") {
		if content, err = gzip.NewReader(content); err != nil {
			err = &DamagedError{What: "content", Got: err.Error(), Want: "a gzip file"}
		}
	}
	if err == nil {
		err = use(content)
	}
	var damaged *DamagedError
	if errors.As(err, &damaged) {
		damaged.Dataset, damaged.File, damaged.Remedy = x.name, path, x.remedy(dir)
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %s: %w", x.name, path, err)
	}
	return nil
}

func isRegular(path string) bool {
	status, err := os.Stat(path)
	return err == nil && status.Mode().IsRegular()
}

// readIDX fills content with the first samples of a decompressed file: the number given by the limit, or all of the split, whose
// file then has to end. Offsets in its errors are those in the decompressed file.
func readIDX(r io.Reader, magic uint32, content []byte, limit, whole int) error {
	header := make([]byte, 8)
	if magic == idxImages {
		header = make([]byte, 16)
	}
	if n, err := io.ReadFull(r, header); err != nil {
		return idxCut("header", int64(n), err)
	}
	word := func(i int) int64 { return int64(binary.BigEndian.Uint32(header[4*i:])) }
	if word(0) != int64(magic) {
		return &DamagedError{What: "magic number", Got: fmt.Sprintf("0x%08x", word(0)), Want: fmt.Sprintf("0x%08x", magic)}
	}
	have := int(word(1))
	if !enough(have, limit, whole) {
		return &DamagedError{Offset: 4, What: "number of samples", Got: fmt.Sprint(have), Want: fmt.Sprint(whole)}
	}
	if magic == idxImages && (word(2) != idxSide || word(3) != idxSide) {
		return &DamagedError{Offset: 8, What: "size of the images", Got: fmt.Sprintf("%dx%d", word(2), word(3)),
			Want: fmt.Sprintf("%dx%d", idxSide, idxSide)}
	}
	n, err := io.ReadFull(r, content)
	if err != nil {
		return idxCut("samples", int64(len(header)+n), err)
	}
	end := int64(len(header) + len(content))
	if limited(limit, whole) == have { // read to the end, where gzip has its checksum
		if _, err := io.ReadFull(r, header[:1]); err == nil {
			return &DamagedError{Offset: end, What: "end", Got: "more bytes", Want: "the end of the file"}
		} else if !errors.Is(err, io.EOF) {
			return idxCut("end", end, err)
		}
	}
	if magic == idxLabels {
		for sample, label := range content {
			if label > 9 {
				return &DamagedError{Offset: int64(len(header) + sample), What: fmt.Sprintf("label of sample %d", sample),
					Got: fmt.Sprint(label), Want: "0 to 9"}
			}
		}
	}
	return nil
}

// idxCut says that the content ends or is damaged at a byte; an error of the file system stays what it is.
func idxCut(what string, at int64, err error) error {
	var system *fs.PathError
	if errors.As(err, &system) {
		return err
	}
	got := "the end of the file"
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		got = err.Error()
	}
	return &DamagedError{Offset: at, What: what, Got: got, Want: "more bytes"}
}

// remedy tells how to get the set.
func (x idxFiles) remedy(dir string) string {
	return fmt.Sprintf("`benchctl data pull %s` fetches it; or put %s%s and the other three files into %s; or name another "+
		"folder with --data-dir", x.name, x.url, idxTrainImages, filepath.Join(dir, x.folder))
}
