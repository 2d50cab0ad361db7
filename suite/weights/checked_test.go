package weights_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/localbench/localbench/suite/weights"
)

// A file with a checksum brings every bit back, keeps the one before it, and is a safetensors file like any other.
func TestSaveChecked(t *testing.T) {
	dir := t.TempDir()
	path, previous := filepath.Join(dir, "s.safetensors"), filepath.Join(dir, "p.safetensors")
	for _, note := range []string{"first", "second"} {
		if err := weights.SaveChecked(path, previous, content(), values(), map[string]string{"note": note}); err != nil {
			t.Fatal(err)
		}
	}
	for file, note := range map[string]string{path: "second", previous: "first"} {
		got := memory{}
		meta, err := weights.LoadChecked(file, got, values())
		if err != nil || meta["note"] != note {
			t.Errorf("%s: got %v, %v, want the note %s", file, meta, err, note)
		}
		for name, want := range content() {
			if !slices.Equal(got[name], want) {
				t.Errorf("%s: %s: %v, want %v", file, name, got[name], want)
			}
		}
	}
	if err := weights.LoadModel(path, memory{}, values()); err != nil {
		t.Error(err)
	}
}

// Each byte of the file, its header, checksum and length included, is protected: a file with a flipped bit is damaged, and
// nothing of it is taken over.
func TestEachByteIsChecked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.safetensors")
	if err := weights.SaveChecked(path, "", content(), values(), map[string]string{"note": "x"}); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, changed []byte) {
		t.Helper()
		if err := os.WriteFile(path, changed, 0o666); err != nil {
			t.Fatal(err)
		}
		got := memory{}
		_, err := weights.LoadChecked(path, got, values())
		var damaged *weights.DamagedError
		if !errors.As(err, &damaged) || len(got) > 0 {
			t.Errorf("%s: got %v and %d values, want a damaged file and none", what, err, len(got))
		}
	}
	for i := range sound {
		changed := slices.Clone(sound)
		changed[i] ^= 1 << (i % 8)
		check("a bit", changed)
		if i%16 == 0 {
			check("cut off", sound[:i])
		}
	}
	check("longer", append(slices.Clone(sound), 0))
	if err := os.WriteFile(path, sound, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := weights.LoadChecked(path, memory{}, values()); err != nil {
		t.Errorf("the sound file: %v", err)
	}
}

// A file without a checksum, as Save writes it, is not taken; one that is not there is an error of the system.
func TestLoadCheckedWantsAChecksum(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := weights.Save(path, content(), values(), nil); err != nil {
		t.Fatal(err)
	}
	var damaged *weights.DamagedError
	if _, err := weights.LoadChecked(path, memory{}, values()); !errors.As(err, &damaged) {
		t.Errorf("got %v, want a damaged file", err)
	}
	if _, err := weights.LoadChecked(path+".none", memory{}, values()); !errors.Is(err, fs.ErrNotExist) || errors.As(err, &damaged) {
		t.Errorf("got %v, want that the file does not exist", err)
	}
}
