package results

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/localbench/localbench/atomicfile"
	"github.com/localbench/localbench/files"
)

// KeptProfile is a profile in a file, PATH/ProfileID.json.
type KeptProfile struct {
	Schema  int64    `json:"schema"` // as of records
	Status  Status   `json:"status"` // done, or why there is no profile
	Error   string   `json:"error,omitzero"`
	Commit  string   `json:"commit,omitzero"` // of the program that measured
	Steps   int      `json:"steps"`           // that were asked for
	Spec    Spec     `json:"spec"`
	Profile *Profile `json:"profile,omitempty"`
}

// profilePart is in the names of files of profiles, and in those of no records.
const profilePart = ".profile-"

// ProfileID names the profile of some steps of a spec.
func ProfileID(s Spec, steps int) string { return fmt.Sprintf("%s%s%d", SpecID(s), profilePart, steps) }

// isProfile reports whether a file has a profile, by its name.
func isProfile(name string) bool { return strings.Contains(name, profilePart) }

// ReadProfile reads a profile from a folder.
func ReadProfile(dir string, s Spec, steps int) (k KeptProfile, err error) {
	path := Path(dir, ProfileID(s, steps))
	text, err := files.Read(path, maxFileBytes)
	if err != nil {
		return k, fmt.Errorf("profile: %w", err)
	}
	if err := json.Unmarshal(text, &k); err != nil {
		return k, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case k.Schema > Schema:
		return k, &NewerSchemaError{Path: path, Got: k.Schema, Want: Schema}
	case SpecID(k.Spec) != SpecID(s) || k.Steps != steps:
		return k, fmt.Errorf("%s: is of another run than its name says", path)
	case k.Status == StatusDone && k.Profile == nil:
		return k, fmt.Errorf("%s: has no profile", path)
	}
	return k, nil
}

// WriteProfile writes a profile into a folder.
func WriteProfile(dir string, k KeptProfile) error {
	k.Schema = Schema
	text, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("profile: %w", &atomicfile.Error{Path: dir, Err: err})
	}
	if err := atomicfile.WriteBytes(Path(dir, ProfileID(k.Spec, k.Steps)), append(text, '\n'), 0o666); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}
