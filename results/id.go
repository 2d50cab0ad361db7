package results

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// SpecID names a run: `<network>-<method>-<dataset>-<hash>`, with the hash the
// first 16 hex digits of the SHA-256 of the spec as canonical JSON (keys sorted,
// no spaces, fields at their zero value left out where the schema allows it).
//
// Every field of the spec counts, the seed and the thread count too (the thread
// count changes the last bits of sums), except Device: the choice among several equal
// devices is placement. The environment does not count, so the same
// run on another machine has the same id; keep such records in another folder.
//
// Ids outlive releases: a new field of Spec must be left out of the JSON at its
// zero value, and the zero value must mean the earlier behaviour.
func SpecID(spec Spec) string {
	sum := sha256.Sum256(canonical(spec))
	var words []string
	for _, w := range []string{spec.Network, spec.Method, spec.Dataset} {
		if w = word(w); w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(append(words, hex.EncodeToString(sum[:8])), "-")
}

// ExperimentID is the id of an experiment, whose runs differ in the seed only: that of its spec without the seed.
func ExperimentID(spec Spec) string {
	spec.Seed = 0
	return SpecID(spec)
}

// canonical is the text that is hashed. Sorting the keys makes the order of the
// fields in the source irrelevant.
func canonical(spec Spec) []byte {
	spec.Device = ""
	text, err := json.Marshal(spec)
	if err != nil { // a number that is not finite; Write refuses such a spec
		return fmt.Appendf(nil, "%+v", spec)
	}
	fields := map[string]any{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // a seed above 2^53 keeps all its digits
	if err := decoder.Decode(&fields); err != nil {
		return text
	}
	sorted, err := json.Marshal(fields)
	if err != nil {
		return text
	}
	return sorted
}

// word keeps the characters that are safe in a file name: lower-case letters and digits, with
// single dashes for the rest.
func word(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 40 {
			break
		}
	}
	return strings.Trim(b.String(), "-")
}

// StepSpec is the spec of a training step: without what changes only which data it sees, and when. Runs with equal step specs
// have the same program, and so the same memory and about the same time of a step.
func StepSpec(s Spec) Spec {
	s.Seed, s.Epochs, s.LR, s.WarmupEpochs, s.WeightDecay = 0, 0, 0, nil, 0
	s.TrainLimit, s.TestLimit, s.ValFraction, s.Device = 0, 0, 0, ""
	return s
}
