package cli_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/localbench/localbench/cli"
)

// commands are a root with two commands that read a configuration.
func commands() (run, plan *cobra.Command, got *values) {
	got = &values{}
	root := &cobra.Command{Use: "tool"}
	run, plan = &cobra.Command{Use: "run"}, &cobra.Command{Use: "plan"}
	root.AddCommand(run, plan)
	for _, c := range root.Commands() {
		var path string
		cli.Define(c.Flags(), cli.ConfigFlag, "file", "", "configuration", cli.Word(&path))
		cli.Define(c.Flags(), "names", "names", "", "names", cli.Words(&got.names))
	}
	cli.Define(run.Flags(), "seeds", cli.CountOrList, "1", "seeds", cli.Seeds(&got.seeds, 1000))
	cli.Define(run.Flags(), "sizes", "counts", "", "sizes", cli.List(&got.sizes, cli.Number(1, 99)))
	cli.Define(run.Flags(), "rate", "rate", "", "rate", cli.Optional(&got.rate, cli.Real))
	cli.Define(run.Flags(), "limit", "size", "", "limit", cli.One(&got.limit, cli.Size))
	cli.Define(run.Flags(), "part", "fraction", "", "part", cli.One(&got.part, cli.Within(0, 1, "from 0 to 1")))
	run.Flags().BoolVar(&got.quick, "quick", false, "quick")
	return run, plan, got
}

type values struct {
	names []string
	seeds []uint64
	sizes []int
	rate  *float64
	limit int64
	part  float64
	quick bool
}

func TestValues(t *testing.T) {
	run, _, got := commands()
	args := []string{"--names= a, b", "--seeds=3", "--sizes=1,99", "--rate=0.5", "--limit=2KiB", "--part=1"}
	if err := run.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.names, []string{"a", "b"}) || !slices.Equal(got.seeds, []uint64{1, 2, 3}) ||
		!slices.Equal(got.sizes, []int{1, 99}) || *got.rate != 0.5 || got.limit != 2048 || got.part != 1 {
		t.Errorf("got %+v", got)
	}
	for text, want := range map[string][]uint64{"5,": {5}, "1,2,5": {1, 2, 5}, "2": {1, 2}} {
		if err := run.Flags().Set("seeds", text); err != nil || !slices.Equal(got.seeds, want) {
			t.Errorf("--seeds %s: got %v, %v, want %v", text, got.seeds, err, want)
		}
	}
}

// An invalid value is an error that names the flag, shows the text and says what the value must be.
func TestFlagErrors(t *testing.T) {
	for flag, want := range map[string]string{
		"--seeds=1001":  "--seeds 1001: must be a whole number from 1 to 1000",
		"--seeds=1,x":   "--seeds 1,x: entry x must be a whole number of at least 0",
		"--sizes=0":     "--sizes 0: must be at least 1",
		"--sizes=1,,2":  "--sizes 1,,2: must be entries separated by single commas",
		"--rate=NaN":    "--rate NaN: must be a number",
		"--limit=512":   "--limit 512: must be a size with its unit, such as 512MiB or 8GiB",
		"--limit=0B":    "--limit 0B: must be a size with its unit, such as 512MiB or 8GiB",
		"--part=2":      "--part 2: must be from 0 to 1",
		"--quick=maybe": "--quick maybe: must be true or false",
		"--sedes=1":     "unknown flag: --sedes: did you mean --seeds?",
	} {
		run, _, _ := commands()
		err := run.ParseFlags([]string{flag})
		if err == nil || cli.FlagError(run, err).Error() != want {
			t.Errorf("%s: got %v, want %s", flag, cli.FlagError(run, err), want)
		}
	}
}

func TestReadConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	for text, want := range map[string]string{
		"seeds: [5]\nnames: [a, b]\n": "",
		"seeds: 0\n":                  "c.yaml:1: seeds: 0: must be at least 1",
		"\nseds: 1\n":                 `c.yaml:2: unknown key "seds": did you mean "seeds"?`,
		"names: {a: 1}\n":             "must be a value or a list of values: it is a mapping",
		"config: other.yaml\n":        `c.yaml:1: unknown key "config"`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		run, _, got := commands()
		switch _, err := cli.ReadConfig(run, path); {
		case want == "":
			if err != nil || !slices.Equal(got.seeds, []uint64{5}) || !slices.Equal(got.names, []string{"a", "b"}) {
				t.Errorf("%q: got %+v, %v, want the seed 5, not five seeds", text, got, err)
			}
		case err == nil || !strings.Contains(err.Error(), want):
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	// A flag of the command line counts; a key of another command is skipped.
	if err := os.WriteFile(path, []byte("names: c\nseeds: 2\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	// Entries that are set apart come back, and a misspelt one is found.
	for text, want := range map[string]string{"names: a\nmatrix: {x: 1}\n": "", "marix: 1\n": `did you mean "matrix"?`} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		run, _, _ := commands()
		apart, err := cli.ReadConfig(run, path, "matrix")
		if want == "" && (err != nil || len(apart) != 1 || apart[0].Key != "matrix" || apart[0].Line != 2) ||
			want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %+v, %v, want %q", text, apart, err, want)
		}
	}
	if err := os.WriteFile(path, []byte("names: c\nseeds: 2\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, plan, got := commands()
	if err := plan.ParseFlags([]string{"--names", "d"}); err != nil {
		t.Fatal(err)
	}
	if _, err := cli.ReadConfig(plan, path); err != nil || !slices.Equal(got.names, []string{"d"}) || got.seeds != nil {
		t.Errorf("got %+v, %v, want the names of the command line and no seeds", got, err)
	}
}

func TestCheckExclusive(t *testing.T) {
	pairs := []cli.Exclusive{{First: "names x", Second: "seeds", Why: "x has seeds"}, {First: "sizes", Second: "rate", Why: "why"}}
	for args, want := range map[string]string{
		"--names=x --seeds=2":          "--names x and --seeds can't be combined: x has seeds",
		"--names=y --seeds=2":          "",
		"--sizes=1 --rate=1 --seeds=1": "--sizes and --rate can't be combined: why",
		"--rate=1":                     "",
	} {
		run, _, _ := commands()
		if err := run.ParseFlags(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		err := cli.CheckExclusive(run, pairs)
		if (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%s: got %v, want %q", args, err, want)
		}
	}
	// One of a configuration file counts, unless it is said not to.
	run, _, _ := commands()
	if err := run.Flags().Lookup("sizes").Value.Set("1"); err != nil {
		t.Fatal(err)
	}
	if err := run.ParseFlags([]string{"--rate=1"}); err != nil {
		t.Fatal(err)
	}
	if got, without := cli.CheckExclusive(run, pairs), cli.CheckExclusive(run, pairs, "sizes"); got == nil || without != nil {
		t.Errorf("sizes of a file: got %v, %v, want an error and none", got, without)
	}
}

func TestNumberBounds(t *testing.T) {
	if _, err := cli.Number(0, math.MaxInt32)("2147483648"); err == nil {
		t.Error("2147483648 was taken for a number of at most 2147483647")
	}
}

func TestCheckRequired(t *testing.T) {
	all := []cli.Requirement{{Flag: "rate", With: []string{"sizes", "seeds"}, Why: "why"}, {Flag: "part", With: []string{"limit"}}}
	for args, want := range map[string]string{
		"--rate=1":             "--rate: needs --sizes or --seeds; why",
		"--rate=1 --seeds=2":   "",
		"--part=1":             "--part: needs --limit",
		"--part=1 --limit=1kB": "",
		"--sizes=1":            "",
	} {
		run, _, _ := commands()
		if err := run.ParseFlags(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		err := cli.CheckRequired(run, all)
		if (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%s: got %v, want %q", args, err, want)
		}
	}
}

// The lines of help fit into the width, and so does the default that is appended to the last one.
func TestBreakHelp(t *testing.T) {
	c := &cobra.Command{Use: "tool"}
	var text string
	cli.Define(c.Flags(), "name", "word", "abcdefghijklmnop", strings.Repeat("12345 ", 20), cli.Word(&text))
	words := func(text string, width int) string { // breaks at blanks
		var lines []string
		for _, word := range strings.Fields(text) {
			if n := len(lines); n > 0 && len(lines[n-1])+1+len(word) <= width {
				lines[n-1] += " " + word
			} else {
				lines = append(lines, word)
			}
		}
		return strings.Join(lines, "\n")
	}
	cli.BreakHelp(c, 60, words)
	lines := strings.Split(strings.TrimRight(c.Flags().FlagUsages(), "\n"), "\n")
	if len(lines) < 4 || !strings.HasSuffix(lines[len(lines)-1], "(default abcdefghijklmnop)") {
		t.Errorf("got %q", lines)
	}
	for _, line := range lines {
		if len(line) > 60 {
			t.Errorf("%d characters: %s", len(line), line)
		}
	}
}
