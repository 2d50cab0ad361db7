package compare

import (
	"fmt"

	"github.com/dustin/go-humanize/english"

	"github.com/localbench/localbench/results"
)

// Unchanged reports whether nothing differs, was added or was removed.
func (c Comparison) Unchanged() bool {
	return len(c.Worst(Regression))+len(c.Worst(Missing))+len(c.Worst(Better))+len(c.OnlyNew) == 0
}

// OtherPlanner names what a plan depends on and what differs between two environments: processor, threads, libraries.
func OtherPlanner(a, b results.Environment) []string {
	differ := Machine(a, b)
	for _, key := range []string{"cuDNN", "oneDNN", "oneDNN_isa"} {
		if x, y := a.Libraries[key], b.Libraries[key]; x != "" && x != y {
			differ = append(differ, fmt.Sprintf("%s %s and %s", key, x, y))
		}
	}
	return differ
}

// PlannedSentence is Sentence for planned memory: where nothing became worse it counts what became smaller, was added and
// was removed.
func (c Comparison) PlannedSentence() string {
	if len(c.Worst(Regression)) == 0 && len(c.Worst(Missing)) == len(c.OnlyOld) {
		return fmt.Sprintf("%s smaller, %s added, %s removed", english.Plural(len(c.Worst(Better)), "value", ""),
			english.Plural(len(c.OnlyNew), "run", ""), english.Plural(len(c.OnlyOld), "run", ""))
	}
	return c.Sentence()
}
