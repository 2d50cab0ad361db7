// Package sweepdir is a sweep as files in one folder, which several machines may share: what is to be run, who is running it,
// and what became of it.
//
// In go specs and what each asks of a machine; out come a manifest, leases and the status of each cell.
//
//   - A manifest, sweep/DIGEST.json, lists the cells of a sweep. Its name is a digest of its content, so that it never
//     changes, and several sweeps may share a folder.
//   - The record of a cell, ID.json, is the only thing that says that it is done.
//   - A lease, sweep/ID.lease.N, says who runs a cell. Its file is rewritten as a heartbeat. When the heartbeats stop, the
//     lease N+1 may be taken: creating that file succeeds for one process only. The holder of N that sees N+1 stops.
//
// No clock of one machine is compared with that of another: all ages are differences of the modification times that the file
// server sets. The folder needs atomic renames and links, as local file systems and NFS have them.
package sweepdir

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/files"
	"github.com/localbench/localbench/results"
)

// Schema is the version of manifests and leases.
const Schema = 1

// maxManifestBytes bounds the size of a manifest: 100,000 cells have some 100 MB.
const maxManifestBytes = 256 << 20

// Manifest is a sweep: what every process that takes part has to know.
type Manifest struct {
	Schema  int64  `json:"schema"`
	Commit  string `json:"commit,omitzero"` // of the program that wrote it
	DataDir string `json:"data_dir"`
	// What Runner's options of the same names are.
	Init        string `json:"init,omitzero"`
	SaveWeights bool   `json:"save_weights,omitzero"`
	EvalHeads   bool   `json:"eval_heads,omitzero"`
	Profile     int    `json:"profile,omitzero"` // steps: cells are profiles, not runs
	OnOOM       string `json:"on_oom,omitzero"`  // skip, halve-batch or budget; empty: skip
	// HeartbeatSeconds is the time between two heartbeats of a lease; one that is older than three of them may be taken over.
	HeartbeatSeconds float64 `json:"heartbeat_seconds"`
	Cells            []Cell  `json:"cells"`
}

// Cell is one run of a sweep, with what it asks of a machine.
type Cell struct {
	ID          string       `json:"id"` // results.SpecID of Spec, or results.ProfileID
	Spec        results.Spec `json:"spec"`
	MemoryBytes int64        `json:"memory_bytes"`         // of the process: planned arena, data set, and program
	GPUBytes    int64        `json:"gpu_bytes,omitzero"`   // of a GPU: the arena; 0: the cell uses none
	Threads     int64        `json:"threads"`              // of the cpu
	Seconds     float64      `json:"seconds"`              // of the whole run: measured, or predicted
	Measured    bool         `json:"measured,omitzero"`    // Seconds is from records of the same step
	Refused     string       `json:"refused,omitzero"`     // why the cell is not run at all: no machine has its memory
	ArenaBytes  int64        `json:"arena_bytes,omitzero"` // that is planned
}

// CellID is the id of a spec's cell: that of its record, or of its profile.
func (m Manifest) CellID(s results.Spec) string {
	if m.Profile > 0 {
		return results.ProfileID(s, m.Profile)
	}
	return results.SpecID(s)
}

// Timeout is the age at which a lease may be taken over.
func (m Manifest) Timeout() time.Duration {
	return time.Duration(3 * m.HeartbeatSeconds * float64(time.Second))
}

// Name is the file of the manifest: its content decides it.
func (m Manifest) Name() (string, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("manifest: %w", err)
	}
	digest := sha256.Sum256(text)
	return hex.EncodeToString(digest[:8]) + ".json", nil
}

// folder is where manifests and leases of a folder of records are, apart from the records.
const folder = "sweep"

// Folder is the folder of manifests, leases and logs in a folder of records.
func Folder(dir string) string { return filepath.Join(dir, folder) }

// Write writes the manifest into the folder of records and returns its path. A manifest that is there is the same one.
func (m Manifest) Write(dir string) (path string, err error) {
	name, err := m.Name()
	if err != nil {
		return "", err
	}
	path = filepath.Join(Folder(dir), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return "", fmt.Errorf("manifest: %w", &atomicfile.Error{Path: path, Err: err})
	}
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return "", fmt.Errorf("manifest: %w", err)
	}
	return path, atomicfile.WriteBytes(path, append(text, '\n'), 0o644)
}

// Read reads a manifest and checks it: its name must be that of its content, and each id that of its spec.
func Read(path string) (m Manifest, err error) {
	text, err := files.Read(path, maxManifestBytes)
	if err != nil {
		return m, fmt.Errorf("manifest: %w", err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	if m.Schema != Schema {
		return m, fmt.Errorf("%s: schema %d: this program reads %d", path, m.Schema, Schema)
	}
	name, err := m.Name()
	switch {
	case err != nil:
		return m, err
	case name != filepath.Base(path):
		return m, fmt.Errorf("%s: was changed or renamed: its content has the name %s", path, name)
	case m.HeartbeatSeconds <= 0:
		return m, fmt.Errorf("%s: heartbeat_seconds %g: must be greater than 0", path, m.HeartbeatSeconds)
	}
	for i, c := range m.Cells {
		if id := m.CellID(c.Spec); id != c.ID {
			return m, fmt.Errorf("%s: cell %d: id %s: its spec has the id %s", path, i, c.ID, id)
		}
	}
	return m, nil
}

// ReadAll reads all manifests of a folder, in the order of their names. It is an error if there is none.
func ReadAll(dir string) (all []Manifest, err error) {
	entries, err := os.ReadDir(Folder(dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != ".json" {
			continue
		}
		m, err := Read(filepath.Join(Folder(dir), entry.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: has no sweep: `benchctl run --launcher` writes one: %w", dir, fs.ErrNotExist)
	}
	return all, nil
}

// errNoCell is the error of an index outside a manifest.
var errNoCell = errors.New("is not in the manifest")

// Cell returns a cell by its index, from 0.
func (m Manifest) Cell(i int) (Cell, error) {
	if i < 0 || i >= len(m.Cells) {
		return Cell{}, fmt.Errorf("cell %d: %w, which has %d cells", i, errNoCell, len(m.Cells))
	}
	return m.Cells[i], nil
}

// Named are the sweeps of a folder of records, or the one whose manifest has a name.
func Named(dir, name string) ([]Manifest, error) {
	if name == "" {
		return ReadAll(dir)
	}
	m, err := Read(filepath.Join(Folder(dir), filepath.Base(name)))
	return []Manifest{m}, err
}
