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
	"strings"
)

// Pull downloads the archive of a set, holds its size and checksum against the
// published ones, and unpacks its folder into dir. What is there already stays
// until all is sound. On is called with the bytes received so far; it may be nil.
func (e Entry) Pull(ctx context.Context, dir string, on func(received int64)) error {
	if e.Archive == nil {
		return fmt.Errorf("datasets: %s is made, not downloaded: there is nothing to pull", e.Name)
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
	archive := filepath.Join(work, "archive")
	if err := e.Archive.download(ctx, archive, on); err != nil {
		return fmt.Errorf("datasets: %s: %s: %w", e.Name, e.Archive.URL, err)
	}
	if err := unpack(archive, work); err != nil {
		return fmt.Errorf("datasets: %s: %s: %w", e.Name, e.Archive.URL, err)
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

func (a Archive) download(ctx context.Context, path string, on func(int64)) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL, nil)
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
	n, err := io.Copy(io.MultiWriter(file, sum, progress{new(int64), on}), io.LimitReader(response.Body, a.Bytes+1))
	if err != nil {
		return err
	}
	if n != a.Bytes {
		return fmt.Errorf("got %d bytes or more, want %d", n, a.Bytes)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != a.MD5 {
		return fmt.Errorf("got checksum %s, want %s", got, a.MD5)
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

// unpack writes the files of a tar.gz below dir.
func unpack(archive, dir string) error {
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
