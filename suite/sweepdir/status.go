package sweepdir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/localbench/localbench/files"
	"github.com/localbench/localbench/results"
)

// State is what became of a cell.
type State string

// The states of a cell.
const (
	Done    State = "done"
	Running State = "running"
	Waiting State = "waiting" // never started, or interrupted: it goes on from its state
	Failed  State = "failed"  // its record says why
	Refused State = "refused" // no machine has the memory that its plan needs
)

// States lists the states in the order of tables.
func States() []State { return []State{Running, Waiting, Done, Failed, Refused} }

// Status is the state of a cell, from files alone.
type Status struct {
	Cell
	State  State
	Status results.Status // of the record; empty: not written yet
	Reason string         // why it failed, or waits
	Holder Holder         // of a running cell
	Age    time.Duration  // of its last heartbeat
}

// head is the part of a record that says what became of the run. The record has it before everything that is long.
type head struct {
	Status results.Status
	Error  string
}

// maxRecordBytes bounds the size of a record.
const maxRecordBytes = 256 << 20

// StatusOf is the status of each cell of the manifests of a folder; a cell of several manifests counts once.
func StatusOf(dir string, manifests []Manifest) ([]Status, error) {
	held, err := leases(dir)
	if err != nil {
		return nil, err
	}
	now, err := present(dir)
	if err != nil {
		return nil, err
	}
	var all []Status
	seen := map[string]bool{}
	timeouts := map[string]time.Duration{}
	for _, m := range manifests {
		for _, c := range m.Cells {
			if !seen[c.ID] {
				seen[c.ID], timeouts[c.ID] = true, m.Timeout()
				all = append(all, Status{Cell: c})
			}
		}
	}
	var next sync.Mutex
	i := 0
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				next.Lock()
				k := i
				i++
				next.Unlock()
				if k >= len(all) {
					return
				}
				all[k].fill(dir, held[all[k].ID], now, timeouts[all[k].ID])
			}
		})
	}
	workers.Wait()
	return all, nil
}

// fill finds the state of one cell.
func (s *Status) fill(dir string, lease found, now time.Time, timeout time.Duration) {
	r, err := readHead(results.Path(dir, s.ID))
	s.Status = r.Status
	age := now.Sub(lease.modified)
	switch {
	case err != nil:
		s.State, s.Reason = Failed, err.Error()
	case r.Status == results.StatusDone:
		s.State = Done
	case lease.generation > 0 && age < timeout:
		s.State, s.Holder, s.Age = Running, lease.holder, age
	case s.Refused != "":
		s.State, s.Reason = Refused, s.Refused
	case r.Status == "" && lease.generation > 0, r.Status == results.StatusInterrupted && lease.generation > 0:
		s.State = Waiting
		s.Reason = fmt.Sprintf("process %d on %s gave no sign of life for %s", lease.holder.PID, lease.holder.Host,
			age.Round(time.Second))
	case r.Status == "":
		s.State = Waiting
	case r.Status == results.StatusInterrupted:
		s.State, s.Reason = Waiting, "interrupted: it goes on from its state"
	default:
		s.State, s.Reason = Failed, r.Error
	}
}

// readHead reads the status of a record; the zero value if the file is missing. Of a record as this
// program writes it, it reads the first fields and the last line, not the epochs between them: a record may have megabytes, and a
// sweep ten thousand of them.
func readHead(path string) (h head, err error) {
	f, size, err := files.Open(path, maxRecordBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return h, fmt.Errorf("record: %w", err)
	}
	defer f.Close()
	if err := h.read(f); err != nil {
		return h, fmt.Errorf("%s: damaged record: %w", path, err)
	}
	end := make([]byte, min(size, 16))
	if _, err := f.ReadAt(end, size-int64(len(end))); err != nil {
		return h, fmt.Errorf("record: %w", err)
	}
	if bytes.HasSuffix(end, []byte("\n}\n")) { // as records are written, indented: nothing is missing
		return h, nil
	}
	text, err := files.Read(path, maxRecordBytes)
	if err == nil && !json.Valid(text) {
		err = errors.New("damaged record: is not JSON; its end may be missing")
	}
	if err != nil {
		return h, fmt.Errorf("%s: %w", path, err)
	}
	return h, nil
}

// read reads the fields of a JSON object up to the first one that comes after the status and the error.
func (h *head) read(r io.Reader) error {
	d := json.NewDecoder(r)
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return errors.Join(errors.New("is not a JSON object"), err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		var value any = new(json.RawMessage)
		switch {
		case key == "status":
			value = &h.Status
		case key == "error":
			value = &h.Error
		case h.Status != "":
			return nil
		}
		if err := d.Decode(value); err != nil {
			return err
		}
	}
	if h.Status == "" {
		return errors.New("it has no status")
	}
	return nil
}

// present is the time by the clock of the file server.
func present(dir string) (time.Time, error) {
	probe, err := os.CreateTemp(Folder(dir), ".clock-*")
	if err != nil { // a folder that can only be read: the newest that this machine knows
		return time.Now(), nil //nolint:nilerr // status works on folders of others
	}
	defer os.Remove(probe.Name())
	defer probe.Close()
	if _, err := probe.WriteString("\n"); err != nil {
		return time.Now(), nil //nolint:nilerr // the same
	}
	info, err := os.Stat(probe.Name())
	if err != nil {
		return time.Time{}, fmt.Errorf("sweep: %w", err)
	}
	return info.ModTime(), nil
}

// Settled reports whether no cell of a sweep will change by itself.
func Settled(all []Status) bool {
	return !slices.ContainsFunc(all, func(s Status) bool { return s.State == Running || s.State == Waiting })
}
