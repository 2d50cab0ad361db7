package datasets

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Pull downloads what is published of a set, holds sizes and checksums against the
// published ones, and puts the folder into dir. What is there already stays
// until all is sound. On is called with the bytes received so far; it may be nil.
func (e Entry) Pull(ctx context.Context, dir string, on func(received int64)) error {
	if e.Archive == nil {
		return fmt.Errorf("datasets: %s is made, not downloaded: there is nothing to pull", e.Name)
	}
	if len(e.Archive.Downloads) == 0 {
		return &AccessError{Dataset: e.Name, Remedy: e.Archive.Access}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("datasets: %s: %w", e.Name, err)
	}
	// Beside its place, so that the last step is a rename.
	work, err := os.MkdirTemp(dir, ".pull-*")
	if err != nil {
		return fmt.Errorf("datasets: %s: %w", e.Name, err)
	}
	defer os.RemoveAll(work)
	counted := progress{new(int64), on}
	for _, d := range e.Archive.Downloads {
		if err := d.fetch(ctx, work, *e.Archive, counted); err != nil {
			return fmt.Errorf("datasets: %s: %s: %w", e.Name, d.URL, err)
		}
	}
	place := filepath.Join(dir, e.Archive.Folder)
	if err := os.RemoveAll(place); err != nil {
		return fmt.Errorf("datasets: %s: %w", e.Name, err)
	}
	if err := os.Rename(filepath.Join(work, e.Archive.Folder), place); err != nil {
		return fmt.Errorf("datasets: %s: %w", e.Name, err)
	}
	return nil
}

// AccessError says that a set cannot be downloaded by a program.
type AccessError struct {
	Dataset string
	Remedy  string // how to get it, a sentence
}

func (e *AccessError) Error() string {
	return fmt.Sprintf("datasets: %s: its authors ask for a registration before the download, which no program can give", e.Dataset)
}

// Hint says how to get the set.
func (e *AccessError) Hint() string { return e.Remedy }

// fetch puts a download, or what it has packed, below dir.
func (d Download) fetch(ctx context.Context, dir string, a Archive, counted progress) error {
	if d.As != "" {
		path := filepath.Join(dir, a.Folder, d.As)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		return d.download(ctx, path, counted)
	}
	archive := filepath.Join(dir, "archive")
	defer os.Remove(archive)
	if err := d.download(ctx, archive, counted); err != nil {
		return err
	}
	return unpack(archive, dir, a.Skip)
}

func (d Download) download(ctx context.Context, path string, counted progress) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.URL, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers %s", response.Status)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	sum := md5.New() // what the publisher gives; it guards against damage, not against malice
	n, err := io.Copy(io.MultiWriter(file, sum, counted), io.LimitReader(response.Body, d.Bytes+1))
	if err != nil {
		return err
	}
	if n != d.Bytes {
		return fmt.Errorf("got %d bytes or more, want %d", n, d.Bytes)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != d.MD5 {
		return fmt.Errorf("got checksum %s, want %s", got, d.MD5)
	}
	return file.Close()
}

// progress counts what is written to it.
type progress struct {
	received *int64
	on       func(int64)
}

func (p progress) Write(b []byte) (int, error) {
	*p.received += int64(len(b))
	if p.on != nil {
		p.on(*p.received)
	}
	return len(b), nil
}

// unpack writes the files of a tar.gz below dir, but those whose names are to be skipped.
func unpack(archive, dir string, skip []string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("not a tar.gz: %w", err)
	}
	for entries := tar.NewReader(plain); ; {
		entry, err := entries.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(entry.Name) {
			return fmt.Errorf("the archive has the path %q, want one inside of it", entry.Name)
		}
		path := filepath.Join(dir, entry.Name)
		switch {
		case strings.HasSuffix(entry.Name, "/"):
			err = os.MkdirAll(path, 0o777)
		case slices.Contains(skip, filepath.Base(path)):
		case entry.Typeflag == tar.TypeReg:
			err = unpackFile(path, entries)
		}
		if err != nil {
			return err
		}
	}
}

func unpackFile(path string, content io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, content); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
