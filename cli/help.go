package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// BreakHelp breaks the lines of what the flags of a command do, by a function that breaks a text into lines of a width. Note: a
// usage template with FlagUsagesWrapped would do it, too, but is parsed at every start, which made the process of a run 8 MiB
// larger (process_baseline_bytes of ResNet-20: 36.2 MiB instead of 28.1 MiB).
func BreakHelp(c *cobra.Command, columns int, wrap func(text string, width int) string) {
	indent := 0
	c.Flags().VisitAll(func(f *pflag.Flag) {
		kind, _ := pflag.UnquoteUsage(f)
		indent = max(indent, len("      -- ")+len(f.Name)+len(kind)+len("   "))
	})
	c.Flags().VisitAll(func(f *pflag.Flag) {
		given := ""
		if f.DefValue != "" {
			given = " (default " + f.DefValue + ")" // which help appends to the last line
		}
		f.Usage = broken(f.Usage, given, max(columns-indent, 24), wrap)
	})
}

// broken breaks a text into lines of at most width characters, the last one including suffix.
func broken(text, suffix string, width int, wrap func(text string, width int) string) string {
	text = wrap(text, width)
	if last := text[strings.LastIndexByte(text, '\n')+1:]; len(last)+len(suffix) > width {
		text += "\n"
	}
	return text
}

// Complete completes the values of flags by name, on every command that has them.
func Complete(c *cobra.Command, values map[string]cobra.CompletionFunc) {
	for flag, complete := range values {
		if c.Flags().Lookup(flag) != nil {
			_ = c.RegisterFlagCompletionFunc(flag, complete) // fails only for a flag that is not there
		}
	}
	for _, sub := range c.Commands() {
		Complete(sub, values)
	}
}
