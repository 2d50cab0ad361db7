package history

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/localbench/localbench/git"
	"github.com/localbench/localbench/reports/compare"
	"github.com/localbench/localbench/results"
)

// GitOrder says that commits come in the order of git's history.
const GitOrder = "in git's order"

// Range is the commits that a revision does not contain. The zero value is all commits.
type Range struct {
	revision string
	commits  map[string]bool // nil: all
}

// Since is the range of the commits of the repository in a folder that are not contained in a revision; all commits
// without a revision.
func Since(dir, revision string) (Range, error) {
	if revision == "" {
		return Range{}, nil
	}
	commits, err := git.Log(dir, revision+"..HEAD")
	if err != nil {
		return Range{}, fmt.Errorf("since: %w", err)
	}
	r := Range{revision, map[string]bool{}}
	for _, c := range commits {
		r.commits[c.Hash] = true
	}
	return r, nil
}

// OfBaseline reads every version that a file had; of a range those of its commits, and the one before them to compare the
// first with. warn is told what is left out.
func OfBaseline(path string, since Range, warn func(string)) (revisions []compare.Revision, err error) {
	dir, base := filepath.Split(path)
	commits, err := git.Log(dir, "HEAD", "--", base)
	if err != nil {
		return nil, err
	}
	for _, c := range keep(commits, since, func(c git.Commit) string { return c.Hash }) {
		text, err := git.Run(dir, "show", c.Hash+":./"+base)
		if err != nil {
			continue // the commit that removed it
		}
		records, warnings, err := results.Parse(base+" at commit "+git.Short(c.Hash), []byte(text))
		if err != nil {
			warnings = append(warnings, results.Warning{Path: path, Err: err})
		}
		for _, w := range warnings {
			warn(w.String())
		}
		if err == nil {
			revisions = append(revisions, compare.Revision{Commit: c.Hash, Subject: c.Subject, Records: records})
		}
	}
	return revisions, nil
}

// keep is what belongs to the range, and the last before it.
func keep[T any](all []T, since Range, hash func(T) string) (out []T) {
	if since.commits == nil {
		return all
	}
	for _, one := range slices.Backward(all) {
		if !since.commits[hash(one)] {
			out = append(out, one)
			break
		}
	}
	for _, one := range all {
		if since.commits[hash(one)] {
			out = append(out, one)
		}
	}
	return out
}

// OfRecords groups records by the commit of the program that made them. The order is git's
// where git knows all of the commits, and else that of the first runs, which it says.
func OfRecords(records []results.Record, since Range, warn func(string)) (revisions []compare.Revision, order string) {
	commits, _ := git.Log("", "HEAD") // without git no commit is known
	type entry struct {
		compare.Revision
		place int // in git's order; -1: git does not know it
		first time.Time
	}
	found := map[string]*entry{}
	unknown := 0
	for _, r := range records {
		hash := r.Environment.Commit
		if hash == "" {
			unknown++
			continue
		}
		e := found[hash]
		if e == nil {
			e = &entry{Revision: compare.Revision{Commit: hash}, first: r.Started}
			e.place = slices.IndexFunc(commits, func(c git.Commit) bool { return strings.HasPrefix(c.Hash, hash) })
			if e.place >= 0 {
				e.Commit, e.Subject = commits[e.place].Hash, commits[e.place].Subject
			}
			found[hash] = e
		}
		if r.Started.Before(e.first) {
			e.first = r.Started
		}
		e.Records = append(e.Records, r)
	}
	if unknown > 0 {
		warn(fmt.Sprintf("history: %s without a commit left out", english.Plural(unknown, "record", "")))
	}
	all := slices.SortedFunc(maps.Values(found), func(a, b *entry) int {
		return cmp.Or(a.first.Compare(b.first), strings.Compare(a.Commit, b.Commit))
	})
	if since.commits != nil {
		all = slices.DeleteFunc(all, func(e *entry) bool {
			if e.place < 0 {
				warn(fmt.Sprintf("history: %s of commit %s left out: git does not say whether it comes after %s",
					english.Plural(len(e.Records), "record", ""), git.Short(e.Commit), since.revision))
			}
			return e.place < 0
		})
	}
	order = GitOrder
	if at := slices.IndexFunc(all, func(e *entry) bool { return e.place < 0 }); at >= 0 {
		order = fmt.Sprintf("in the order of their first runs, because git does not know %s", git.Short(all[at].Commit))
	} else {
		slices.SortStableFunc(all, func(a, b *entry) int { return cmp.Compare(a.place, b.place) })
	}
	for _, e := range keep(all, since, func(e *entry) string { return e.Commit }) {
		revisions = append(revisions, e.Revision)
	}
	return revisions, order
}
