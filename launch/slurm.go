package launch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/localbench/localbench/suite/sweepdir"
)

// Slurm is how cells are handed to Slurm 22.05 and newer, by its command line.
type Slurm struct {
	Arrays int               // cells of an array that run at a time (%K); 0: no limit
	Pass   map[string]string // options of sbatch by name without dashes; they replace ours of the same name
}

// defaultArraySize is Slurm's own limit of the tasks of an array.
const defaultArraySize = 1001

// maxArraySize is the most tasks of an array that the cluster takes.
func (o Slurm) maxArraySize(ctx context.Context) int {
	out, err := exec.CommandContext(ctx, "scontrol", "show", "config").Output()
	if err != nil { // sbatch will say what is wrong
		return defaultArraySize
	}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(line, "=")
		if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && n > 0 && strings.TrimSpace(name) == "MaxArraySize" {
			return n
		}
	}
	return defaultArraySize
}

// Script is the batch script of a class: an array with one task for each cell. The numbers of the tasks begin at 0: a cluster
// limits them, not only how many there are.
func (o Slurm) Script(s Sweep, c Class) string {
	options := map[string]string{
		"job-name":      "benchctl",
		"array":         tasks(len(c.Cells)) + o.atATime(),
		"mem":           strconv.FormatInt(mebibytes(c.MemoryBytes), 10) + "M",
		"cpus-per-task": strconv.FormatInt(c.Threads, 10),
		"time":          clock(c.Seconds),
		"output":        filepath.Join(sweepdir.Folder(s.Out), "slurm-%A_%a.log"),
		"open-mode":     "append",
		"requeue":       "",
		// A cell saves its state when it is told to stop; a minute is enough for that.
		"signal": "B:TERM@60",
	}
	if c.GPU {
		options["gres"] = "gpu:1"
	}
	maps.Copy(options, o.Pass)
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	for _, name := range slices.Sorted(maps.Keys(options)) {
		b.WriteString("#SBATCH --" + name)
		if options[name] != "" {
			value := options[name]
			if strings.ContainsAny(value, " \t") {
				value = `"` + value + `"`
			}
			b.WriteString("=" + value)
		}
		b.WriteString("\n")
	}
	// The shell passes the signal on: Slurm sends it to the batch shell alone. An interrupted cell is put back into the queue.
	b.WriteString("export OMP_WAIT_POLICY=passive\n" +
		s.chosen(c, "SLURM_ARRAY_TASK_ID") +
		s.work(`"$1"`) + " &\n" +
		"cell=$!\n" +
		`trap 'kill -TERM "$cell"' TERM INT` + "\n" +
		`wait "$cell"; code=$?` + "\n" +
		`if [ "$code" -gt 128 ]; then wait "$cell"; code=$?; fi` + "\n" +
		fmt.Sprintf("if [ \"$code\" -eq %d ]; then scontrol requeue \"${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}\" || true; fi\n",
			Interrupted) +
		`exit "$code"` + "\n")
	return b.String()
}

// Interrupted is the exit code of a cell that was told to stop and saved its state.
const Interrupted = 130

func (o Slurm) atATime() string {
	if o.Arrays > 0 {
		return "%" + strconv.Itoa(o.Arrays)
	}
	return ""
}

// tasks are the numbers of tasks from 0 on.
func tasks(count int) string {
	if count == 1 {
		return "0"
	}
	return fmt.Sprintf("0-%d", count-1)
}

// Submit hands a script to sbatch and returns the number of the job.
func (o Slurm) Submit(ctx context.Context, script string) (string, error) {
	command := exec.CommandContext(ctx, "sbatch", "--parsable")
	command.Stdin = strings.NewReader(script)
	var said strings.Builder
	command.Stderr = &said
	out, err := command.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("sbatch: not found: --launcher slurm needs the commands of Slurm on this machine")
	}
	if err != nil {
		return "", fmt.Errorf("sbatch: %w: %s", err, strings.TrimSpace(said.String()))
	}
	job, _, _ := strings.Cut(strings.TrimSpace(string(out)), ";") // a cluster's name may follow
	if _, err := strconv.ParseInt(job, 10, 64); err != nil {
		return "", fmt.Errorf("sbatch: printed %q: must be the number of a job", job)
	}
	return job, nil
}

// queue are the tasks that Slurm has not ended yet, by the number of their array job: their indices.
func (o Slurm) queue(ctx context.Context) (map[string][]int, error) {
	command := exec.CommandContext(ctx, "squeue", "--noheader", "--array", "--format=%F %K")
	var said strings.Builder
	command.Stderr = &said
	out, err := command.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("squeue: not found: --launcher slurm needs the commands of Slurm on this machine")
	}
	if err != nil {
		return nil, fmt.Errorf("squeue: %w: %s", err, strings.TrimSpace(said.String()))
	}
	tasks := map[string][]int{}
	for line := range strings.Lines(string(out)) {
		job, index, _ := strings.Cut(strings.TrimSpace(line), " ")
		if i, err := strconv.Atoi(index); err == nil { // or else it is no task of an array
			tasks[job] = append(tasks[job], i)
		}
	}
	return tasks, nil
}

// Node is the memory of the largest machine of a partition, in bytes, and whether any machine has a GPU.
func (o Slurm) Node(ctx context.Context) (bytes int64, err error) {
	args := []string{"--noheader", "--format=%m"}
	if p := o.Pass["partition"]; p != "" {
		args = append(args, "--partition="+p)
	}
	out, err := exec.CommandContext(ctx, "sinfo", args...).Output()
	if errors.Is(err, exec.ErrNotFound) {
		return 0, errors.New("sinfo: not found: --launcher slurm needs the commands of Slurm on this machine")
	}
	if err != nil {
		return 0, fmt.Errorf("sinfo: %w", err)
	}
	for _, line := range strings.Fields(string(out)) {
		n, err := strconv.ParseInt(strings.TrimSuffix(line, "+"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("sinfo: printed %q: must be a number of MiB", line)
		}
		bytes = max(bytes, n<<20)
	}
	if bytes == 0 {
		return 0, errors.New("sinfo: lists no machine")
	}
	return bytes, nil
}
