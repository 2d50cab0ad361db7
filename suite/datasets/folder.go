package datasets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// FolderPrefix begins the name of a data set of the user's own images: folder:PATH. The folder PATH holds train/ and val/,
// each with a folder of JPEG or PNG files for every class; the names of these folders, sorted, are the labels. The set has as
// many classes as train/ has folders. Images are preprocessed as ImageNet's, for 224 pixels or another side
// (Entry.WithImageSize).
const FolderPrefix = "folder:"

// folderEntry is the entry of folder:PATH. It lists the folders, since networks need the number of classes and plans the
// number of samples.
func folderEntry(name string) (Entry, error) {
	root := strings.TrimPrefix(name, FolderPrefix)
	card := imagenetCard()
	card.Name = name
	remedy := fmt.Sprintf("%s must hold %s/ and %s/, each with a folder of JPEG or PNG files for every class",
		root, imagenetTrain, imagenetTest)
	if root == "" {
		return Entry{}, errors.New("--datasets folder: the path is missing, write folder:PATH")
	}
	classes, err := classFolders(name, root, imagenetTrain, remedy)
	if err != nil {
		return Entry{}, err
	}
	card.Classes = len(classes)
	for _, s := range []struct {
		split   string
		samples *int
	}{{imagenetTrain, &card.TrainSamples}, {imagenetTest, &card.TestSamples}} {
		pictures, err := listPictures(filepath.Join(root, s.split), classes)
		if errors.Is(err, fs.ErrNotExist) {
			return Entry{}, &MissingError{Dataset: name, Dir: root, Want: filepath.Join(root, s.split, "CLASS"), Remedy: remedy}
		}
		if err != nil {
			return Entry{}, fmt.Errorf("%s: %w", name, err)
		}
		if *s.samples = len(pictures.files); *s.samples == 0 {
			return Entry{}, &MissingError{Dataset: name, Dir: root, Want: filepath.Join(root, s.split, classes[0], "*.jpg"),
				Remedy: remedy}
		}
	}
	return folderOf(card, root, remedy), nil
}

// folderOf is the entry of the set of the card in the folder root.
func folderOf(card Card, root, remedy string) Entry {
	return Entry{
		Card: card, Licence: "the user's own", Folder: true,
		Open: func(_ string, opts Options) (*Dataset, error) { return openFolders(card, root, remedy, opts) },
		Sized: func(side int) Entry {
			other := card
			other.Height, other.Width = side, side
			return folderOf(other, root, remedy)
		},
		MinSide: minPictureSide, MaxSide: maxPictureSide,
	}
}

// openFolders opens a set of folders of classes: root has imagenetTrain and imagenetTest, each with card.Classes folders of
// the same names.
func openFolders(card Card, root, remedy string, opts Options) (*Dataset, error) {
	set := &Dataset{Card: card}
	if err := opts.check(set.Name); err != nil {
		return nil, err
	}
	classes, err := classFolders(set.Name, root, imagenetTrain, remedy)
	if err != nil {
		return nil, err
	}
	test, err := classFolders(set.Name, root, imagenetTest, remedy)
	if err != nil {
		return nil, err
	}
	damaged := func(path, what, got, want string) error {
		return &DamagedError{Dataset: set.Name, File: path, Offset: -1, What: what, Got: got, Want: want, Remedy: remedy}
	}
	if n := len(classes); n != set.Classes {
		return nil, damaged(filepath.Join(root, imagenetTrain), "folders of classes", fmt.Sprint(n), fmt.Sprint(set.Classes))
	}
	if !slices.Equal(classes, test) {
		return nil, damaged(filepath.Join(root, imagenetTest), "folders of classes", fmt.Sprintf("%d", len(test)),
			fmt.Sprintf("the %d of %s", len(classes), filepath.Join(root, imagenetTrain)))
	}
	for _, s := range []struct {
		split        *Split
		name         string
		limit, whole int
	}{{&set.Train, imagenetTrain, opts.TrainLimit, set.TrainSamples}, {&set.Test, imagenetTest, opts.TestLimit, set.TestSamples}} {
		pictures, err := listPictures(filepath.Join(root, s.name), classes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", set.Name, err)
		}
		if have := len(pictures.files); !enough(have, s.limit, s.whole) {
			return nil, damaged(filepath.Join(root, s.name), "images", fmt.Sprint(have), fmt.Sprint(limited(s.limit, s.whole)))
		}
		pictures.dataset, pictures.remedy, pictures.shorter = set.Name, remedy, shorterSide(set.Height)
		pictures.files = pictures.files[:limited(s.limit, s.whole)]
		*s.split = Split{Shape: set.Shape, N: len(pictures.files), Labels: pictures.labels(), Pictures: &pictures}
	}
	return set, nil
}

// classFolders lists the folders of classes of a split, sorted.
func classFolders(dataset, root, split, remedy string) ([]string, error) {
	path := filepath.Join(root, split)
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &MissingError{Dataset: dataset, Dir: root, Want: path, Remedy: remedy}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dataset, err)
	}
	var classes []string
	for _, e := range entries {
		if status, err := os.Stat(filepath.Join(path, e.Name())); err == nil && status.IsDir() { // or a link to one
			classes = append(classes, e.Name())
		}
	}
	if classes == nil {
		return nil, &DamagedError{Dataset: dataset, File: path, Offset: -1, What: "folders of classes", Got: "none",
			Want: "one for each class, with its images", Remedy: remedy}
	}
	return classes, nil
}
