package datasets

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/localbench/localbench/files"
)

// stallTimeout is how long a download waits for a connection, a response, or the next bytes.
const stallTimeout = time.Minute

// downloader gets files by HTTP. It uses the proxies in HTTP_PROXY and HTTPS_PROXY, follows redirects to http and https,
// and resumes an interrupted download if the server supports ranges.
type downloader struct {
	client   *http.Client
	stall    time.Duration
	received int64
	on       func(received int64) // may be nil
}

func newDownloader(on func(int64)) *downloader {
	return &downloader{client: http.DefaultClient, stall: stallTimeout, on: on}
}

// add counts bytes.
func (g *downloader) add(n int64) {
	g.received += n
	if g.on != nil {
		g.on(g.received)
	}
}

// cutError reports an interrupted download.
type cutError struct{ error }

func (e *cutError) Unwrap() error { return e.error }

// Hint tells how to resume.
func (e *cutError) Hint() string {
	return "run the command again: it continues where the download stopped"
}

// check compares a file with the published size and checksum of a download.
func (d Download) check(path string) error {
	f, size, err := files.Open(path, d.Bytes)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := md5.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	return d.compare(size, sum)
}

// compare compares a size and a checksum with the published ones. The publishers
// give MD5, which detects damage, not tampering.
func (d Download) compare(size int64, sum hash.Hash) error {
	if size != d.Bytes {
		return fmt.Errorf("%d bytes or more were received, expected %d", size, d.Bytes)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != d.MD5 {
		return fmt.Errorf("the checksum is %s, expected %s", got, d.MD5)
	}
	return nil
}

// download downloads a file to path and resumes an earlier attempt if there is one. A file with another
// size or checksum is removed; an incomplete one is kept.
func (g *downloader) download(ctx context.Context, d Download, path string) error {
	part, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer part.Close()
	sum := md5.New()
	have, err := io.Copy(sum, part)
	if err != nil {
		return err
	}
	before := g.received
	continued := have > 0
	for {
		size, err := g.receive(ctx, d, part, sum, have)
		if err != nil {
			return err
		}
		if err = d.compare(size, sum); err == nil {
			return errors.Join(part.Sync(), part.Close())
		}
		if !continued {
			return errors.Join(err, os.Remove(path))
		}
		// The earlier part may belong to another file or be damaged: start again from the beginning.
		continued, have, g.received = false, 0, before
	}
}

// receive downloads the rest of a file and returns the size of the whole. If the server does not
// support ranges, it downloads all of it.
func (g *downloader) receive(ctx context.Context, d Download, part *os.File, sum hash.Hash, have int64) (size int64, err error) {
	if have == d.Bytes {
		g.add(have)
		return have, nil
	}
	stalled := fmt.Errorf("the server sent nothing for %s", g.stall)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(g.stall, func() { cancel(stalled) })
	defer watch.Stop()
	response, err := g.ask(ctx, d.URL, have)
	if err == nil && have > 0 && !continues(response, have) {
		response.Body.Close()
		have = 0
		response, err = g.ask(ctx, d.URL, 0)
	}
	if err != nil {
		return 0, cutBy(ctx, err)
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		return 0, fmt.Errorf("the server responded with %s", response.Status)
	}
	if have == 0 {
		sum.Reset()
	}
	if err := part.Truncate(have); err != nil {
		return 0, err
	}
	if _, err := part.Seek(have, io.SeekStart); err != nil {
		return 0, err
	}
	g.add(have)
	counter := writerFunc(func(b []byte) (int, error) {
		watch.Reset(g.stall)
		g.add(int64(len(b)))
		return len(b), nil
	})
	body := &bodyReader{Reader: io.LimitReader(response.Body, d.Bytes-have+1)}
	n, err := io.Copy(io.MultiWriter(part, sum, counter), body)
	if body.err != nil {
		return 0, cutBy(ctx, body.err)
	}
	return have + n, err
}

// ask requests a file starting at a byte.
func (g *downloader) ask(ctx context.Context, url string, from int64) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept-Encoding", "identity") // the file as it is published
	if from > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	return g.client.Do(request)
}

// continues reports whether a response starts at a byte of the file.
func continues(r *http.Response, from int64) bool {
	return r.StatusCode == http.StatusPartialContent &&
		strings.HasPrefix(r.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", from))
}

// cutBy is the error of a download ended by the network or the caller.
func cutBy(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return &cutError{err}
}

// bodyReader distinguishes read errors of the connection from write errors.
type bodyReader struct {
	io.Reader
	err error
}

func (r *bodyReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
