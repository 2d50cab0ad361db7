// Package frontier places ways of training beside each other: the memory of a step, its time, and the accuracy that it
// reaches, and which of them no other one beats.
//
// In go records; out come, for each network, data set and training recipe, the points and their verdicts.
//
// Rules:
//   - Memory is exact, the planned arena of the training step. Accuracy is measured, over seeds; time is the median step.
//   - Ways of training whose results have the same bits (bp and checkpoint; a run with and without --budget, --recompute
//     or --update) share one accuracy, from whichever of them was trained to the end.
//   - A point is dominated only if another one needs no more memory, is not slower, and is more accurate beyond the
//     spread of the seeds (Welch's t-test, one-sided, 5 %) or has the same bits. A lead in the means alone leaves it open.
package frontier

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"
	"gonum.org/v1/gonum/stat"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
)

// alpha is the level of the test of accuracies, and sameTime the ratio of step times that counts as no difference.
const (
	alpha    = 0.05
	sameTime = 1.05
)

// Verdict says whether a point belongs to the Pareto set.
type Verdict string

// The verdicts on a point.
const (
	Front     Verdict = "front"     // no other point beats it, in the means either
	Open      Verdict = "open"      // another point beats it in the means, which is not shown
	Dominated Verdict = "dominated" // another point beats it
)

// Point is one way of training.
type Point struct {
	Spec           results.Spec // of the record with the smallest seed
	Label          string       // method, and the settings that vary
	StepArenaBytes int64
	StepSeconds    *float64  // mean over runs of the median step; nil if none was timed
	Top1           []float64 // test accuracies after the last epoch, by seed; empty: not known
	SameBitsAs     string    // label of the point that Top1 is from; empty if it is this one's own
	Rounds         bool      // its bits are those of SameBitsAs but for the order of sums, which is another one in each run
	Verdict        Verdict
	By             string // label of the point that beats it; for Open: in the means
	class          string // equal for points with the same bits
	place          string // where StepSeconds was measured
}

// Task is what the points of one table have in common.
type Task struct {
	Network, Dataset string
	Epochs           int64
	TrainLimit       int64   // training samples; 0: all
	Points           []Point // the smallest memory first
	Notes            []string
	recipe           results.Spec // what its runs have in common
	settings         []string     // of the recipe, which tell it from that of other tasks: "cuda"
}

// recipe is what the runs of a task have in common: the network and the data that it sees, the schedule, the optimizer, and the
// backend, on which memory and time depend. Batch and precision are ways of training.
func recipe(s results.Spec) results.Spec {
	return results.Spec{Network: s.Network, Dataset: s.Dataset, ImageSize: s.ImageSize, TrainLimit: s.TrainLimit, Augment: s.Augment,
		Dropout: s.Dropout, Epochs: s.Epochs, LR: s.LR, WarmupEpochs: s.WarmupEpochs, WeightDecay: s.WeightDecay,
		Momentum: s.Momentum, Nesterov: s.Nesterov, Optimizer: s.Optimizer, Beta1: s.Beta1, Beta2: s.Beta2, Alpha: s.Alpha,
		Epsilon: s.Epsilon, Backend: s.Backend}
}

// usable reports whether a record can be a point.
func usable(r results.Record) bool {
	return r.Status == results.StatusDone && r.Memory.StepArenaBytes != nil && r.Accuracy.LastTop1 != nil
}

// Has reports whether a trained record is one of the task.
func (t Task) Has(r results.Record) bool {
	return usable(r) && results.SpecID(recipe(r.Spec)) == results.SpecID(t.recipe)
}

// Title says what the task is.
func (t Task) Title() string {
	title := fmt.Sprintf("%s on %s, %s", t.Network, t.Dataset, english.Plural(int(t.Epochs), "epoch", ""))
	if t.TrainLimit > 0 {
		title += fmt.Sprintf(" of %s samples", table.Count(t.TrainLimit))
	}
	return strings.Join(append([]string{title}, t.settings...), ", ")
}

// Name is the task as a part of a file's name.
func (t Task) Name() string {
	limit := ""
	if t.TrainLimit > 0 {
		limit = fmt.Sprintf("-%d", t.TrainLimit)
	}
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, strings.Join(append([]string{fmt.Sprintf("%s-%s-%d", t.Network, t.Dataset, t.Epochs) + limit}, t.settings...), "-"))
}

// Of are the tasks of finished records. Times come from the records of timed, if there are any, which may be of fewer epochs;
// otherwise from the records themselves.
func Of(records, timed []results.Record) []Task {
	trained := map[string][]results.Record{}
	var tasks []Task
	for _, r := range records {
		if !usable(r) {
			continue
		}
		common := recipe(r.Spec)
		id := results.SpecID(common)
		if trained[id] == nil {
			tasks = append(tasks, Task{Network: common.Network, Dataset: common.Dataset, Epochs: common.Epochs,
				TrainLimit: common.TrainLimit, recipe: common})
		}
		trained[id] = append(trained[id], r)
	}
	slices.SortStableFunc(tasks, func(a, b Task) int {
		return cmp.Or(table.CompareNatural(a.Network, b.Network), table.CompareNatural(a.Dataset, b.Dataset),
			cmp.Compare(a.Epochs, b.Epochs), cmp.Compare(a.TrainLimit, b.TrainLimit))
	})
	for i := range tasks {
		t := &tasks[i]
		own := trained[results.SpecID(t.recipe)]
		times := own
		if len(timed) > 0 {
			times = nil
			for _, r := range timed {
				if r.Status == results.StatusDone && r.Spec.Network == t.Network && r.Spec.Dataset == t.Dataset &&
					r.Spec.Backend == t.recipe.Backend && r.Memory.StepArenaBytes != nil {
					times = append(times, r)
				}
			}
		}
		t.settings = distinct(*t, tasks)
		t.fill(own, times)
		t.judge()
	}
	return tasks
}

// distinct are the settings in which the recipe of a task differs from those of other tasks of the same network, data set and
// epochs.
func distinct(t Task, tasks []Task) []string {
	var like []results.Record
	for _, other := range tasks {
		if other.Network == t.Network && other.Dataset == t.Dataset && other.Epochs == t.Epochs && other.TrainLimit == t.TrainLimit {
			like = append(like, results.Record{Spec: other.recipe})
		}
	}
	return table.LabelsOf(like).Settings(results.Record{Spec: t.recipe})
}

// class identifies runs with the same bits: what is recomputed, and when parameters are updated, changes none. If activations are
// compressed (--store), the backward pass recomputes from those, and what is recomputed makes a difference. With --fuse-norm
// checkpoint fuses other normalisations than bp: not those at the ends of its segments.
func class(s results.Spec) results.Spec {
	s = results.StepSpec(s)
	settings, err := s.Settings()
	if err != nil { // of another version of this program: its own class
		return s
	}
	settings.DeferUpdates, settings.Eager = false, ""
	if settings.Store != "" {
		return s.WithSettings(settings)
	}
	settings.RecomputeNorm, settings.Budget = false, 0
	if s.Method == "checkpoint" && settings.FuseNorm == "" {
		s.Method, settings.Segment = "bp", 0
	}
	return s.WithSettings(settings)
}

// fill makes the points of a task. Of the timed records those count that have the bits of a trained one.
func (t *Task) fill(trained, timed []results.Record) {
	classes := map[string]bool{}
	for _, r := range trained {
		classes[results.SpecID(class(r.Spec))] = true
	}
	timed = slices.DeleteFunc(slices.Clone(timed), func(r results.Record) bool { return !classes[results.SpecID(class(r.Spec))] })
	all := slices.Concat(trained, timed)
	labels := table.LabelsOf(programs(all))
	at := map[string]int{}
	seconds := map[int][]float64{}
	for _, r := range all {
		id := results.SpecID(results.StepSpec(r.Spec))
		i, seen := at[id]
		if !seen {
			i = len(t.Points)
			at[id] = i
			t.Points = append(t.Points, Point{Spec: r.Spec, StepArenaBytes: *r.Memory.StepArenaBytes,
				Label: labels.Of(results.Record{Status: r.Status, Spec: results.StepSpec(r.Spec)}),
				class: results.SpecID(class(r.Spec))})
		} else if other := *r.Memory.StepArenaBytes; other != t.Points[i].StepArenaBytes {
			t.Notes = append(t.Notes, fmt.Sprintf("%s: records have step arenas of %d and %d bytes, the larger one counts",
				t.Points[i].Label, t.Points[i].StepArenaBytes, other))
			t.Points[i].StepArenaBytes = max(t.Points[i].StepArenaBytes, other)
		}
	}
	for _, r := range timed {
		if d := r.Time.StepSeconds; d != nil {
			i := at[results.SpecID(results.StepSpec(r.Spec))]
			seconds[i] = append(seconds[i], d.Median)
			t.Points[i].place = cmp.Or(r.Environment.GPU, r.Environment.CPU)
		}
	}
	for i, s := range seconds {
		t.Points[i].StepSeconds = new(stat.Mean(s, nil))
	}
	t.accuracies(trained, at)
	slices.SortStableFunc(t.Points, func(a, b Point) int {
		return cmp.Or(cmp.Compare(a.StepArenaBytes, b.StepArenaBytes), table.CompareNatural(a.Label, b.Label))
	})
}

// programs are records with the specs of their steps, so that what differs is what labels must tell.
func programs(records []results.Record) (out []results.Record) {
	for _, r := range records {
		out = append(out, results.Record{Status: r.Status, Spec: results.StepSpec(r.Spec)})
	}
	return out
}

// accuracies gives each point the accuracies of its class, one value for each seed.
func (t *Task) accuracies(trained []results.Record, at map[string]int) {
	type source struct {
		top1  map[uint64]float64
		point int // most seeds of the class are from it
		seeds map[int]int
	}
	classes := map[string]*source{}
	for _, r := range trained {
		i := at[results.SpecID(results.StepSpec(r.Spec))]
		c := classes[t.Points[i].class]
		if c == nil {
			c = &source{top1: map[uint64]float64{}, point: i, seeds: map[int]int{}}
			classes[t.Points[i].class] = c
		}
		if known, ok := c.top1[r.Spec.Seed]; ok && known != *r.Accuracy.LastTop1 {
			t.Notes = append(t.Notes, fmt.Sprintf("%s, seed %d: accuracies %s %% and %s %% of runs with the same bits, "+
				"from different machines or versions; the first one counts",
				t.Points[i].Label, r.Spec.Seed, table.Percent(known), table.Percent(*r.Accuracy.LastTop1)))
		} else if !ok {
			c.top1[r.Spec.Seed] = *r.Accuracy.LastTop1
		}
		if c.seeds[i]++; c.seeds[i] > c.seeds[c.point] {
			c.point = i
		}
	}
	for i := range t.Points {
		p := &t.Points[i]
		c := classes[p.class]
		if c == nil {
			continue
		}
		for _, seed := range slices.Sorted(maps.Keys(c.top1)) {
			p.Top1 = append(p.Top1, c.top1[seed])
		}
		if i != c.point {
			p.SameBitsAs, p.Rounds = t.Points[c.point].Label, rounds(p.Spec)
		}
	}
}

// judge sets the verdicts.
func (t *Task) judge() {
	for i := range t.Points {
		p := &t.Points[i]
		p.Verdict = Front
		for j, q := range t.Points {
			switch {
			case i == j:
			case q.beats(*p, false):
				p.Verdict, p.By = Dominated, q.Label
			case p.Verdict == Front && q.beats(*p, true):
				p.Verdict, p.By = Open, q.Label
			}
			if p.Verdict == Dominated {
				break
			}
		}
	}
}

// beats reports whether q is as good as p in everything and better in something; inMeans: by the means of accuracies alone.
func (q Point) beats(p Point, inMeans bool) bool {
	if q.StepArenaBytes > p.StepArenaBytes {
		return false
	}
	faster := false
	if q.StepSeconds != nil && p.StepSeconds != nil && q.place == p.place {
		if *q.StepSeconds > *p.StepSeconds*sameTime {
			return false
		}
		faster = *q.StepSeconds*sameTime < *p.StepSeconds
	}
	switch {
	case q.class == p.class:
		return faster || q.StepArenaBytes < p.StepArenaBytes
	case inMeans:
		more := stat.Mean(q.Top1, nil) - stat.Mean(p.Top1, nil)
		return more > 0 || more == 0 && (faster || q.StepArenaBytes < p.StepArenaBytes)
	}
	return better(q.Top1, p.Top1) < alpha
}

// rounds reports whether two runs of a spec differ in rounding: kernels of a GPU may add in an order that differs between runs.
func rounds(s results.Spec) bool {
	settings, err := s.Settings()
	return s.Backend == "cuda" && (err != nil || !settings.Deterministic)
}

// same is the label of the point with the same bits.
func (p Point) same() string {
	if p.SameBitsAs != "" && p.Rounds {
		return p.SameBitsAs + ", but for rounding"
	}
	return p.SameBitsAs
}

// Table shows the points of the task.
func (t Task) Table() table.Table {
	out := table.Table{ID: "frontier",
		Title: "Memory, time and accuracy: " + t.Title(),
		Columns: []table.Column{table.TextColumn("run", "run"), table.NumberColumn("step_arena_bytes", "step arena"),
			{Key: "step_seconds", Name: "step", Unit: "ms", Align: table.AlignRight},
			{Key: "last_top1", Name: "top-1", Unit: "%", Align: table.AlignRight}, table.NumberColumn("seeds", "seeds"),
			table.TextColumn("same_bits_as", "same bits as"), table.TextColumn("verdict", "verdict"), table.TextColumn("by", "beaten by")}}
	single, rounding := false, false
	for _, p := range t.Points {
		time := table.Cell{}
		if p.StepSeconds != nil {
			time = table.Number(*p.StepSeconds, fmt.Sprintf("%.4g", 1e3**p.StepSeconds))
		}
		mean, sd := p.Top1[0], 0.0
		accuracy := table.Number(mean, table.Percent(mean))
		if len(p.Top1) > 1 {
			mean, sd = stat.MeanStdDev(p.Top1, nil)
			accuracy = table.Number(mean, table.Percent(mean)+" ± "+table.Percent(sd))
			accuracy.Spread = &sd
		}
		single, rounding = single || len(p.Top1) == 1, rounding || p.SameBitsAs != "" && p.Rounds
		out.Rows = append(out.Rows, []table.Cell{table.Text(p.Label), table.BytesCell(&p.StepArenaBytes), time, accuracy,
			table.PlainCell(int64(len(p.Top1))), table.Text(p.same()), table.Text(string(p.Verdict)), table.Text(p.By)})
	}
	out.Notes = append(slices.Clone(t.Notes),
		"front: no other run has less or equal memory, is not slower, and is more accurate",
		"dominated: another run is, beyond the spread of the seeds (Welch's t-test, one-sided, 5 %), or has the same bits",
		"open: another run is ahead in the means, and the seeds do not show it",
		"times within 5 % count as equal; times from different machines are not compared")
	if rounding {
		out.Notes = append(out.Notes, "but for rounding: without --deterministic a GPU adds in an order that differs between runs")
	}
	if single {
		out.Notes = append(out.Notes, "of one seed nothing about accuracy can be shown")
	}
	return out
}
