package datasets

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/gofrs/flock"

	"github.com/localbench/localbench/files"
)

// workFolder holds unfinished downloads, in the folder of the set: on the same file
// system, so that the last step is a rename, and found by the next pull of the set if this one is
// killed.
const workFolder = ".pull"

// Pull downloads the published files of a set, checks their sizes and checksums,
// and moves the set's files into its folder in dir. Only these files are replaced, one by one and
// after all of them are sound; other files in the folder stay as they are. An interrupted
// download stays in the folder's .pull, and the next Pull resumes it. On is called with
// the bytes received so far; it may be nil.
func (e Entry) Pull(ctx context.Context, dir string, on func(received int64)) error {
	return e.pull(ctx, newDownloader(on), dir)
}

func (e Entry) pull(ctx context.Context, get *downloader, dir string) error {
	if e.Archive == nil {
		return fmt.Errorf("%s is generated: there is nothing to download", e.Name)
	}
	if len(e.Archive.Downloads) == 0 {
		return &AccessError{Dataset: e.Name, Remedy: e.Archive.Access}
	}
	if err := removeLeftovers(dir); err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	place := filepath.Join(dir, e.Archive.Folder)
	work := filepath.Join(place, workFolder)
	lock, err := lockFolder(work)
	if err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	defer lock.Close()
	sound, err := e.Archive.fetch(ctx, get, place, work)
	if err == nil {
		err = replaceAll(place, sound)
	}
	if err == nil || !canContinue(work) {
		err = errors.Join(err, os.RemoveAll(work))
		_ = os.Remove(place) // if it is empty: nothing was there before
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	return nil
}

// AccessError reports a set that can't be downloaded automatically.
type AccessError struct {
	Dataset string
	Remedy  string // how to get it, a sentence
}

func (e *AccessError) Error() string {
	return fmt.Sprintf("%s: can't be downloaded automatically: its authors require a registration", e.Dataset)
}

// Hint tells how to get the set.
func (e *AccessError) Hint() string { return e.Remedy }

// releasedLeftover is the name of the work folder of a release that kept it in the data folder.
var releasedLeftover = regexp.MustCompile(`^\.pull-[0-9]+$`)

// removeLeftovers removes the files that killed pulls of earlier releases left in a data folder.
func removeLeftovers(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && releasedLeftover.MatchString(e.Name()) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// lockFolder makes a work folder and locks it against other processes until the lock is closed.
func lockFolder(work string) (*flock.Flock, error) {
	for {
		if err := os.MkdirAll(work, 0o777); err != nil {
			return nil, err
		}
		lock := flock.New(filepath.Join(work, "lock"), flock.SetFlag(os.O_CREATE|os.O_RDWR))
		locked, err := lock.TryLock()
		if errors.Is(err, os.ErrNotExist) {
			continue // who had it has just removed it
		}
		if err != nil {
			return nil, fmt.Errorf("%s: lock: %w", work, err)
		}
		if !locked {
			return nil, fmt.Errorf("%s: another process is downloading this set; wait until it has ended", work)
		}
		if held, err := lock.Stat(); err == nil {
			if there, err := os.Stat(lock.Path()); err == nil && os.SameFile(held, there) {
				return lock, nil
			}
		}
		lock.Close() // the file was removed between opening and locking
	}
}

// fetch downloads all files and returns the path of each file of the set, by its final name.
func (a Archive) fetch(ctx context.Context, get *downloader, place, work string) (sound map[string]string, err error) {
	sound = map[string]string{}
	for i, d := range a.Downloads {
		if d.As != "" && d.check(filepath.Join(place, d.As)) == nil {
			get.add(d.Bytes)
			continue
		}
		part := filepath.Join(work, fmt.Sprintf("%d.part", i))
		if err := get.download(ctx, d, part); err != nil {
			return nil, fmt.Errorf("%s: %w", d.URL, err)
		}
		if d.As != "" {
			sound[d.As] = part
			continue
		}
		if err := a.unpack(part, work); err != nil {
			return nil, fmt.Errorf("%s: %w", d.URL, errors.Join(err, os.Remove(part)))
		}
		for _, f := range a.Files {
			sound[f.Name] = filepath.Join(work, f.Name)
		}
	}
	return sound, nil
}

// canContinue reports whether a work folder has a complete or partial download for the next pull.
func canContinue(work string) bool {
	parts, _ := filepath.Glob(filepath.Join(work, "*.part"))
	return slices.ContainsFunc(parts, func(part string) bool {
		status, err := os.Stat(part)
		return err == nil && status.Size() > 0
	})
}

// replaceAll renames files to their names in a folder.
func replaceAll(place string, sound map[string]string) error {
	for name, from := range sound {
		if err := os.Rename(from, filepath.Join(place, name)); err != nil {
			return err
		}
	}
	return nil
}

// maxArchiveBytes bounds an archive that is unpacked; that of STL-10 has 2.6 GB.
const maxArchiveBytes = 16 << 30

// unpack writes the archive's Files, which lie in Folder of a tar.gz, into the folder to. The archive's other
// files are ignored; a path that leads out of it is an error.
func (a Archive) unpack(archive, to string) error {
	file, _, err := files.Open(archive, maxArchiveBytes)
	if err != nil {
		return err
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("not a tar.gz: %w", err)
	}
	return a.unpackTar(plain, to)
}

// unpackTar is unpack for the decompressed archive.
func (a Archive) unpackTar(plain io.Reader, to string) error {
	missing := slices.Clone(a.Files)
	for entries := tar.NewReader(plain); len(missing) > 0; {
		entry, err := entries.Next()
		if err == io.EOF {
			return fmt.Errorf("the archive has no file %s/%s", a.Folder, missing[0].Name)
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(entry.Name) {
			return fmt.Errorf("the archive has the path %q, which leads out of it", entry.Name)
		}
		i := slices.IndexFunc(missing, func(f File) bool { return path.Clean(entry.Name) == path.Join(a.Folder, f.Name) })
		if i < 0 {
			continue
		}
		f := missing[i]
		if entry.Typeflag != tar.TypeReg || entry.Size != f.Bytes {
			return fmt.Errorf("the archive's %s is not a file of %d bytes", entry.Name, f.Bytes)
		}
		if err := unpackFile(filepath.Join(to, f.Name), entries); err != nil {
			return err
		}
		missing = slices.Delete(missing, i, i+1)
	}
	return nil
}

func unpackFile(path string, content io.Reader) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, content); err != nil {
		out.Close()
		return err
	}
	return errors.Join(out.Sync(), out.Close())
}

// Provide opens the set in dir, after pull has fetched it if that is not possible, and returns a sentence about it.
func (e Entry) Provide(dir string, pull func() error) (string, error) {
	there := "already in "
	set, err := e.Open(dir, Options{})
	if err != nil || e.Archive == nil {
		there = "in "
		if err := pull(); err != nil {
			return "", err
		}
		if set, err = e.Open(dir, Options{}); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%s: %d training and %d test samples, %s%s", e.Name, set.Train.N, set.Test.N, there,
		filepath.Join(dir, e.Archive.Folder)), nil
}
