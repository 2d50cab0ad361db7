package datasets

import (
	"fmt"
	"strings"

	"github.com/localbench/localbench/names"
)

// Entry is a set that can be opened by name.
type Entry struct {
	Card
	// Licence is one line for the listing and the report.
	Licence string
	// Origin is the URL of the set's description; empty for a generated one.
	Origin string
	// Archive is the authors' download; nil for a generated set.
	Archive *Archive
	// Open reads or generates the set. dir is the data folder; a generated set
	// ignores it. A missing set gives a *MissingError, a bad file a *DamagedError.
	Open func(dir string, opts Options) (*Dataset, error)
	// Folder marks a set folder:PATH: its files are in PATH, not in the data folder.
	Folder bool
	// Sized is the same set with square images of another side, for sets that can make them; nil for sets whose images have one
	// size.
	Sized func(side int) Entry
	// MinSide and MaxSide bound Sized.
	MinSide, MaxSide int
}

// WithImageSize returns the same set with images of side x side pixels, as --image-size asks for; the set itself if that is the
// side of its images. The error of a set whose images have one size names those that take a size.
func (e Entry) WithImageSize(side int) (Entry, error) {
	switch {
	case side == e.Height && side == e.Width:
		return e, nil
	case e.Sized == nil:
		var sized []string
		for _, other := range List() {
			if other.Sized != nil {
				sized = append(sized, other.Name)
			}
		}
		return Entry{}, fmt.Errorf("--image-size %d and --datasets %s can't be combined: its images are %dx%d and are "+
			"used as they are; %s and folder:PATH take a size", side, e.Name, e.Height, e.Width, strings.Join(sized, ", "))
	case side < e.MinSide || side > e.MaxSide:
		return Entry{}, fmt.Errorf("--image-size %d: must be %d to %d for %s", side, e.MinSide, e.MaxSide, e.Name)
	}
	return e.Sized(side), nil
}

// Archive is the official download of a set.
type Archive struct {
	// Downloads is empty if the authors require a registration; Access then tells what to do.
	Downloads []Download
	Access    string
	// Folder is the set's folder in the data folder.
	Folder string
	// Files are the files of Folder that Open reads, with their exact sizes. Of a tar.gz only these are
	// unpacked.
	Files []File
}

// Download is one published file.
type Download struct {
	URL   string
	Bytes int64
	MD5   string // as published, hexadecimal
	// As is the file's name in the folder; empty: it is a tar.gz that
	// contains the folder.
	As string
}

// Bytes is the size of all downloads.
func (a Archive) Bytes() (sum int64) {
	for _, d := range a.Downloads {
		sum += d.Bytes
	}
	return sum
}

// File is a file of an archive.
type File struct {
	Name  string
	Bytes int64
}

// List returns every set, in the order in which listings show them.
func List() []Entry {
	return []Entry{
		cifar10(),
		cifar100(),
		svhn(),
		stl10(),
		fashionMNIST(),
		mnist(),
		imagenet(),
		synthetic(),
	}
}

// Find returns the set of that name, which is that of an entry of List or folder:PATH.
func Find(name string) (Entry, error) {
	if strings.HasPrefix(name, FolderPrefix) {
		return folderEntry(name)
	}
	return names.Find("data set", name, List(), func(e Entry) string { return e.Name })
}
