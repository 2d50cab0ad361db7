package sweepdir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/files"
)

// Holder is what a lease says about the process that runs a cell.
type Holder struct {
	Owner       string    `json:"owner"` // random text, another one for each process
	Host        string    `json:"host"`
	PID         int       `json:"pid"`
	Job         string    `json:"job,omitzero"` // of the scheduler
	Started     time.Time `json:"started"`
	Epoch       int       `json:"epoch,omitzero"`
	Epochs      int       `json:"epochs,omitzero"`
	SecondsLeft float64   `json:"seconds_left,omitzero"`
	MemoryBytes int64     `json:"memory_bytes,omitzero"` // resident, of the run's process
}

// Lease is the right of this process to run a cell.
type Lease struct {
	dir, id    string
	generation int
	Holder     Holder
}

// HeldError says that another process runs the cell.
type HeldError struct {
	Holder Holder
	Age    time.Duration // since its last heartbeat
}

// Error names the holder.
func (e *HeldError) Error() string {
	return fmt.Sprintf("is being run by process %d on %s, which gave a sign of life %.0f s ago", e.Holder.PID, e.Holder.Host,
		e.Age.Seconds())
}

// ErrLost says that another process has taken the lease over, because heartbeats came too late.
var ErrLost = errors.New("another process has taken this cell over: no heartbeat arrived in time")

// maxLeaseBytes bounds the file of a lease.
const maxLeaseBytes = 64 << 10

// found is the newest lease of a cell.
type found struct {
	generation int // 0: none
	holder     Holder
	modified   time.Time
}

// leases are the newest leases of all cells of a folder, by id. Files that can't be read are leases without a known holder.
func leases(dir string) (map[string]found, error) {
	entries, err := os.ReadDir(Folder(dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("sweep: %w", err)
	}
	newest := map[string]found{}
	for _, entry := range entries {
		id, generation, ok := parse(entry.Name())
		if !ok || generation <= newest[id].generation {
			continue
		}
		info, err := entry.Info()
		if err != nil { // released meanwhile
			continue
		}
		f := found{generation: generation, modified: info.ModTime()}
		f.holder, _ = readHolder(filepath.Join(Folder(dir), entry.Name()))
		newest[id] = f
	}
	return newest, nil
}

// parse splits the name of a lease's file.
func parse(name string) (id string, generation int, ok bool) {
	id, text, ok := strings.Cut(name, ".lease.")
	if !ok {
		return "", 0, false
	}
	generation, err := strconv.Atoi(text)
	return id, generation, err == nil && generation > 0
}

func readHolder(path string) (h Holder, err error) {
	text, err := files.Read(path, maxLeaseBytes)
	if err != nil {
		return h, fmt.Errorf("lease: %w", err)
	}
	return h, json.Unmarshal(text, &h)
}

// newestOf is the newest lease of one cell. Generations follow each other, so that it need not read the folder.
func newestOf(dir, id string) (f found, err error) {
	all, err := filepath.Glob(filepath.Join(globQuote(Folder(dir)), globQuote(id)+".lease.*"))
	if err != nil {
		return f, fmt.Errorf("lease: %w", err)
	}
	for _, path := range all {
		_, generation, ok := parse(filepath.Base(path))
		if !ok || generation <= f.generation {
			continue
		}
		info, err := os.Stat(path)
		if err != nil { // released meanwhile
			continue
		}
		f = found{generation: generation, modified: info.ModTime()}
		f.holder, _ = readHolder(path)
	}
	return f, nil
}

// globQuote quotes the characters of a name that have a meaning in a pattern.
func globQuote(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}

// Acquire takes the lease of a cell, if no process holds one that is younger than the timeout: otherwise the error is a
// *HeldError.
func Acquire(dir, id string, h Holder, timeout time.Duration) (*Lease, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	// The file gets its content before its name, and its time of modification is the file server's present.
	draft, err := os.CreateTemp(Folder(dir), ".lease-*")
	if err != nil {
		return nil, fmt.Errorf("lease: %w", &atomicfile.Error{Path: dir, Err: err})
	}
	defer os.Remove(draft.Name())
	_, err = draft.Write(text)
	if err = errors.Join(err, draft.Close()); err != nil {
		return nil, fmt.Errorf("lease: %w", &atomicfile.Error{Path: draft.Name(), Err: err})
	}
	info, err := os.Stat(draft.Name())
	if err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	now := info.ModTime()
	for {
		newest, err := newestOf(dir, id)
		if err != nil {
			return nil, err
		}
		if age := now.Sub(newest.modified); newest.generation > 0 && age < timeout {
			return nil, &HeldError{newest.holder, age}
		}
		l := &Lease{dir: dir, id: id, generation: newest.generation + 1, Holder: h}
		err = os.Link(draft.Name(), l.path(l.generation))
		if errors.Is(err, fs.ErrExist) { // another process was faster: look again
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("lease: %w", &atomicfile.Error{Path: l.path(l.generation), Err: err})
		}
		return l, nil
	}
}

func (l *Lease) path(generation int) string {
	return filepath.Join(Folder(l.dir), l.id+".lease."+strconv.Itoa(generation))
}

// Beat renews the lease and says how far the run is. The error is ErrLost if another process has taken the lease over.
func (l *Lease) Beat(h Holder) error {
	h.Owner, h.Host, h.PID, h.Job, h.Started = l.Holder.Owner, l.Holder.Host, l.Holder.PID, l.Holder.Job, l.Holder.Started
	if err := l.Check(); err != nil {
		return err
	}
	text, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	if err := atomicfile.WriteBytes(l.path(l.generation), text, 0o644); err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	l.Holder = h
	return nil
}

// Check is nil as long as the lease is this process's.
func (l *Lease) Check() error {
	newest, err := newestOf(l.dir, l.id)
	if err != nil {
		return err
	}
	if newest.generation != l.generation || newest.holder.Owner != l.Holder.Owner {
		return ErrLost
	}
	return nil
}

// Release gives the lease back, with those before it. A lease that was lost is left to its holder.
func (l *Lease) Release() error {
	if err := l.Check(); err != nil {
		return err
	}
	for g := l.generation - 1; g > 0; g-- {
		_ = os.Remove(l.path(g)) // old ones harm nothing
	}
	if err := os.Remove(l.path(l.generation)); err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	return nil
}
