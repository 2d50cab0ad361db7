package results

import (
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"
)

// Group is a set of finished runs that differ in the seed only, or one run that
// did not finish.
type Group struct {
	Records []Record // ascending seeds, each once; never empty
}

// Estimate is a mean over seeds.
type Estimate struct {
	Mean float64
	SD   float64 // standard deviation of the sample (n-1); 0 where N is 1
	N    int64   // seeds that measured it
}

// Groups sorts records into groups, in the order in which each group's first
// record came. Runs that did not finish are never averaged: each is a separate
// group. If a seed comes twice, the run that started last is kept.
//
// The notes list the omitted runs, and the groups that differ in the environment
// only.
func Groups(records []Record) (groups []Group, notes []string) {
	place := map[string]int{}
	for _, r := range records {
		key := string(r.Status) + Key(r)
		i, seen := place[key]
		if !seen || r.Status != StatusDone {
			place[key] = len(groups)
			groups = append(groups, Group{[]Record{r}})
			continue
		}
		if note := groups[i].add(r); note != "" {
			notes = append(notes, note)
		}
	}
	return groups, append(notes, apart(groups)...)
}

// Key is equal for records that differ in the seed only: all their Fields but the seed.
func Key(r Record) string {
	var b strings.Builder
	for _, f := range Fields(r) {
		if f.Name != "seed" {
			fmt.Fprintf(&b, "%s=%s\x00", f.Name, f.Text)
		}
	}
	return b.String()
}

// add adds a record for its seed; the note tells if it replaced another or
// was itself replaced by a newer one.
func (g *Group) add(r Record) (note string) {
	at, found := slices.BinarySearchFunc(g.Records, r.Spec.Seed, func(have Record, seed uint64) int {
		switch {
		case have.Spec.Seed < seed:
			return -1
		case have.Spec.Seed > seed:
			return 1
		}
		return 0
	})
	if !found {
		g.Records = slices.Insert(g.Records, at, r)
		return ""
	}
	if r.Started.After(g.Records[at].Started) {
		g.Records[at] = r
	}
	return fmt.Sprintf("%s: seed %d was run more than once, only the latest run counts", r.ID, r.Spec.Seed)
}

// apart notes the groups that differ in their environment only.
func apart(groups []Group) (notes []string) {
	sameSpec := map[string]Record{}
	for _, g := range groups {
		r := g.First()
		if r.Status != StatusDone {
			continue
		}
		bare := r
		bare.Environment = Environment{}
		key := Key(bare)
		first, seen := sameSpec[key]
		if !seen {
			sameSpec[key] = r
			continue
		}
		notes = append(notes, fmt.Sprintf("%s, %s: not averaged, they differ in %s",
			first.ID, r.ID, strings.Join(Residue(first, r), ", ")))
	}
	return notes
}

// First is the record with the smallest seed; it represents the group where
// the seed does not matter.
func (g Group) First() Record { return g.Records[0] }

// Seeds lists the seeds, ascending.
func (g Group) Seeds() []uint64 {
	seeds := make([]uint64, len(g.Records))
	for i, r := range g.Records {
		seeds[i] = r.Spec.Seed
	}
	return seeds
}

// Estimate is the mean over those seeds for which the quantity was measured and
// is finite; false without such a seed.
func (g Group) Estimate(quantity func(Record) *float64) (Estimate, bool) {
	xs := g.Values(quantity)
	if len(xs) == 0 {
		return Estimate{}, false
	}
	e := Estimate{Mean: xs[0], N: int64(len(xs))}
	if slices.Min(xs) != slices.Max(xs) { // equal values stay exact: no rounding in the mean, no spread
		e.Mean, e.SD = stat.MeanStdDev(xs, nil)
	}
	return e, true
}

// Values are those of the seeds for which the quantity was measured and is finite, in the order of the seeds.
func (g Group) Values(quantity func(Record) *float64) (values []float64) {
	for _, r := range g.Records {
		if x := quantity(r); x != nil && finite(*x) {
			values = append(values, *x)
		}
	}
	return values
}

// Bytes converts a size of the record to a quantity for Estimate.
func Bytes(size func(Record) *int64) func(Record) *float64 {
	return func(r Record) *float64 {
		n := size(r)
		if n == nil {
			return nil
		}
		return new(float64(*n))
	}
}
