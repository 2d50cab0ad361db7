package table

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/localbench/localbench/results"
)

// RunLabel names a run by its method and the settings that vary: "auglocal d=2, batch 512 (oom)".
func RunLabel(r results.Record, varying []string) string {
	parts := []string{r.Spec.Method}
	for _, f := range results.Fields(r) {
		if f.Name != "method" && f.Text != "" && slices.Contains(varying, f.Name) {
			parts = append(parts, setting(f))
		}
	}
	if r.Status != results.StatusDone {
		parts[len(parts)-1] += fmt.Sprintf(" (%s)", r.Status)
	}
	return strings.Join(parts, ", ")
}

// setting abbreviates common settings with the papers' letters.
func setting(f results.Field) string {
	switch f.Name {
	case "network", "dataset", "precision", "backend":
		return f.Text
	case "aux_depth":
		return "d=" + f.Text
	case "modules":
		return "K=" + f.Text
	case "pyramid":
		return "pyramid"
	case "options.budget", "options.workspace_limit":
		if bytes, err := strconv.ParseInt(f.Text, 10, 64); err == nil {
			return strings.ReplaceAll(strings.TrimPrefix(f.Name, "options."), "_", " ") + " " + Bytes(bytes)
		}
	}
	name := strings.TrimPrefix(strings.TrimPrefix(f.Name, "environment."), "options.")
	return shorten(strings.ReplaceAll(name, "_", " ") + " " + f.Text)
}

// shorten keeps a long text, such as the name of a processor, from pushing the
// plot off its figure.
func shorten(s string) string {
	const longest = 32
	if runes := []rune(s); len(runes) > longest {
		return string(runes[:longest-1]) + "…"
	}
	return s
}
