// Package launch hands the cells of a sweep to a scheduler: Slurm, Kubernetes, or a shell.
//
// In goes a manifest; out come scripts and manifests of jobs, each of which runs `benchctl work` for one cell. Cells that ask for
// about the same memory, time and device are one array job (Slurm) or one indexed job (Kubernetes).
package launch

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/localbench/localbench/suite/sweepdir"
)

// Sweep is a sweep to be launched.
type Sweep struct {
	Manifest sweepdir.Manifest
	Path     string   // of the manifest's file, absolute
	Out      string   // folder of the records, absolute
	Program  []string // argv of benchctl on the machines that run cells
	Options  []string // further flags of `benchctl work`
}

// Class is a set of cells that ask for the same resources.
type Class struct {
	MemoryBytes int64
	Threads     int64
	GPU         bool
	Seconds     int64
	Cells       []int // indices in the manifest, ascending
}

// spread is the most that a class may ask for, as a multiple of what one of its cells needs.
const spread = 1.25

// Classes sorts the cells that are not refused and for which todo is true into classes, the one with the smallest memory first. A
// class asks for the most that any of its cells needs.
func (s Sweep) Classes(todo func(sweepdir.Cell) bool) (all []Class) {
	type device struct {
		threads int64
		gpu     bool
	}
	of := map[device][]int{}
	for i, c := range s.Manifest.Cells {
		if c.Refused == "" && todo(c) {
			d := device{c.Threads, c.GPUBytes > 0}
			of[d] = append(of[d], i)
		}
	}
	memory := func(i int) float64 { return float64(s.Manifest.Cells[i].MemoryBytes) }
	seconds := func(i int) float64 { return s.Manifest.Cells[i].Seconds }
	for d, cells := range of {
		for _, like := range split(cells, memory) {
			for _, class := range split(like, seconds) {
				slices.Sort(class)
				all = append(all, Class{MemoryBytes: int64(largest(class, memory)), Threads: d.threads, GPU: d.gpu,
					Seconds: int64(math.Ceil(largest(class, seconds))), Cells: class})
			}
		}
	}
	slices.SortFunc(all, func(a, b Class) int {
		return cmp.Or(cmp.Compare(a.MemoryBytes, b.MemoryBytes), cmp.Compare(a.Seconds, b.Seconds), cmp.Compare(a.Cells[0], b.Cells[0]))
	})
	return all
}

// split divides cells into parts in each of which the largest is at most spread times the smallest.
func split(cells []int, size func(int) float64) (parts [][]int) {
	cells = slices.Clone(cells)
	slices.SortStableFunc(cells, func(a, b int) int { return cmp.Compare(size(b), size(a)) })
	for _, i := range cells {
		if n := len(parts); n > 0 && size(parts[n-1][0]) <= spread*size(i) {
			parts[n-1] = append(parts[n-1], i)
		} else {
			parts = append(parts, []int{i})
		}
	}
	return parts
}

// largest is the largest size of cells.
func largest(cells []int, size func(int) float64) (most float64) {
	for _, i := range cells {
		most = max(most, size(i))
	}
	return most
}

// work is the command of a cell; index is its number, or a variable of the shell.
func (s Sweep) work(index string) string {
	args := make([]string, 0, len(s.Program)+8)
	for _, a := range append(slices.Clone(s.Program), "work", s.Out, "--manifest", filepath.Base(s.Path)) {
		args = append(args, quote(a))
	}
	args = append(args, "--cell", index)
	for _, o := range s.Options {
		args = append(args, quote(o))
	}
	return strings.Join(args, " ")
}

// chosen lets a shell choose the cell of a class whose place, from 0, a variable has: it is $1 then.
func (s Sweep) chosen(c Class, variable string) string {
	cells := make([]string, len(c.Cells))
	for i, cell := range c.Cells {
		cells[i] = strconv.Itoa(cell)
	}
	return "set -- " + strings.Join(cells, " ") + "\n" + `shift "$` + variable + `"` + "\n"
}

// Parts are classes of at most this many cells.
func Parts(classes []Class, most int) (parts []Class) {
	for _, c := range classes {
		for cells := range slices.Chunk(c.Cells, most) {
			c.Cells = cells
			parts = append(parts, c)
		}
	}
	return parts
}

// Lines are one shell command for each cell that todo names.
func (s Sweep) Lines(todo func(sweepdir.Cell) bool) (lines []string) {
	for i, c := range s.Manifest.Cells {
		if c.Refused == "" && todo(c) {
			lines = append(lines, s.work(strconv.Itoa(i)))
		}
	}
	return lines
}

// quote quotes an argument for a POSIX shell, if it has to be.
func quote(arg string) string {
	plain := arg != "" && strings.IndexFunc(arg, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@+%", r))
	}) < 0
	if plain {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

// mebibytes rounds up.
func mebibytes(bytes int64) int64 { return (bytes + 1<<20 - 1) >> 20 }

// clock is a time as Slurm reads it: HH:MM:SS.
func clock(seconds int64) string {
	return fmt.Sprintf("%02d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
}
