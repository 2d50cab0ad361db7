package table

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/localbench/localbench/results"
)

// Labels names the runs of a table or figure by their methods and the settings in which they differ.
type Labels struct {
	varying []string        // names of results.Fields
	alike   map[string]bool // labels that runs share unless settings that follow from others are in them, too
}

// LabelsOf are the labels of records. Seeds are not in them.
func LabelsOf(records []results.Record) Labels {
	l := Labels{results.Varying(records), map[string]bool{}}
	first := map[string]string{} // by label: the whole label of its first record
	for _, r := range records {
		short, whole := l.text(r, false), l.text(r, true)
		if other, seen := first[short]; !seen {
			first[short] = whole
		} else if other != whole {
			l.alike[short] = true
		}
	}
	return l
}

// Of names a run by its method and the settings that vary: "auglocal, d=2, batch 512 (oom)".
func (l Labels) Of(r results.Record) string {
	text := l.text(r, false)
	if l.alike[text] {
		text = l.text(r, true)
	}
	if r.Status != results.StatusDone {
		text += fmt.Sprintf(" (%s)", r.Status)
	}
	return text
}

// text is the label of a run without its status; whole: with settings that follow from others, as a rule.
func (l Labels) text(r results.Record, whole bool) string {
	return strings.Join(append([]string{r.Spec.Method}, l.settings(r, whole)...), ", ")
}

// Settings are those settings of a run that vary, as Of has them after the method: "d=2", "batch 512".
func (l Labels) Settings(r results.Record) []string { return l.settings(r, true) }

func (l Labels) settings(r results.Record, whole bool) (all []string) {
	for _, f := range results.Fields(r) {
		if f.Name != "method" && f.Text != "" && slices.Contains(l.varying, f.Name) && (whole || !follows(f)) {
			all = append(all, setting(f))
		}
	}
	return all
}

// follows reports whether a setting follows from others unless a flag says otherwise: InfoPro's head, coefficients that are a
// preset, those published for the network, data set and modules, or for the most similar ones, and the pyramid's default
// coefficient.
func follows(f results.Field) bool {
	return f.Name == "options.head" || f.Name == "pyramid_coefficient" && f.Text == "0.5" ||
		f.Name == "options.coefficients" && !strings.Contains(f.Text, ",")
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
	case "warmup_epochs":
		return "warm-up " + f.Text
	case "pyramid":
		return "pyramid"
	case "options.budget", "options.workspace_limit":
		return strings.ReplaceAll(strings.TrimPrefix(f.Name, "options."), "_", " ") + " " + SettingCell(f.Name, f.Text).Text
	}
	if follows(f) && f.Name == "options.coefficients" { // the name of the preset says what it is
		return shorten(f.Text)
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

// SettingCell is a cell with a setting of results.Fields: as text, but a size as bytes.
func SettingCell(name, text string) Cell {
	if name == "options.budget" || name == "options.workspace_limit" {
		if bytes, err := strconv.ParseInt(text, 10, 64); err == nil {
			return BytesCell(&bytes)
		}
	}
	return Text(text)
}
