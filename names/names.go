// Package names finds an entry of a list by its name, and suggests a similar name if there is no such entry.
package names

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hbollon/go-edlib"
)

// UnknownError reports a name that is not in a list.
type UnknownError struct {
	Kind  string // what the list holds, in the singular: "network"
	Name  string
	Known []string // in the order of the list
}

// maxListed is the longest list that an error prints together with a suggestion.
const maxListed = 20

// maxCompared is the longest name that is compared with known ones; the time is quadratic in its length.
const maxCompared = 200

// Error suggests the nearest known name, if one is near, and lists the known ones.
func (e *UnknownError) Error() string {
	text := fmt.Sprintf("unknown %s %q: ", e.Kind, e.Name)
	if near := Nearest(e.Name, e.Known); near != "" {
		text += fmt.Sprintf("did you mean %q?", near)
		if len(e.Known) > maxListed {
			return text
		}
		text += " "
	}
	return text + "Known: " + strings.Join(e.Known, ", ")
}

// Find returns the entry of a list whose name is the given one, or an *UnknownError.
func Find[T any](kind, name string, list []T, nameOf func(T) string) (T, error) {
	known := make([]string, len(list))
	for i, entry := range list {
		if known[i] = nameOf(entry); known[i] == name {
			return entry, nil
		}
	}
	var none T
	return none, &UnknownError{kind, name, known}
}

// Nearest returns the known name with the fewest edits (insert, delete, replace, swap two neighbours) to the given one,
// ignoring case. It returns "" if even that one differs in more than a third of its letters.
func Nearest(name string, known []string) string {
	if len(name) > maxCompared {
		return ""
	}
	best, edits := "", 0
	for _, k := range known {
		n := edlib.OSADamerauLevenshteinDistance(strings.ToLower(name), strings.ToLower(k))
		if n <= max(1, len(k)/3) && (best == "" || n < edits) {
			best, edits = k, n
		}
	}
	return best
}

// Closest returns the known names, at most count of them, with the fewest edits to the given one, the nearest first.
func Closest(name string, known []string, count int) []string {
	if len(name) > maxCompared {
		name = name[:maxCompared]
	}
	edits := map[string]int{}
	for _, k := range known {
		edits[k] = edlib.OSADamerauLevenshteinDistance(strings.ToLower(name), strings.ToLower(k))
	}
	sorted := slices.Clone(known)
	slices.SortStableFunc(sorted, func(a, b string) int { return edits[a] - edits[b] })
	return sorted[:min(count, len(sorted))]
}
