// Command sweepbench measures what large sweeps cost on this machine, as it is now: the overhead of each run in a local sweep of
// tiny runs, and the time and memory of `benchctl status` and `benchctl report` for many records.
//
//	go run ./scripts/sweepbench -benchctl bin/benchctl
//
// The overhead of a run is the wall time of the sweep divided by the number of runs, less the time that the records give for
// training and evaluation. The many records are copies of one real record with other specs and accuracies, and with -epochs
// epochs. Figures of one machine are in docs/scaling.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/prometheus/procfs"

	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite/sweepdir"
)

func main() {
	var b bench
	flag.StringVar(&b.benchctl, "benchctl", filepath.Join("bin", "benchctl"), "program to measure")
	flag.IntVar(&b.runs, "runs", 1000, "runs of the local sweep; 0: leave it out")
	flag.IntVar(&b.jobs, "jobs", 1, "runs at a time")
	flag.IntVar(&b.records, "records", 10_000, "records to read; 0: leave it out")
	flag.IntVar(&b.epochs, "epochs", 160, "epochs of each record")
	flag.StringVar(&b.template, "template",
		filepath.Join("results", "reproductions", "resnet20-cifar10-12-epochs", "resnet20-dgl-cifar10-336c12d4de68de21.json"),
		"record that the many records are copies of")
	flag.StringVar(&b.keep, "keep", "", "folder for the records, which is kept (default: a temporary folder, which is removed)")
	flag.Parse()
	if err := b.run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sweepbench: "+err.Error())
		os.Exit(1)
	}
}

// bench is what is measured.
type bench struct {
	benchctl                    string
	runs, jobs, records, epochs int
	template, keep              string
}

func (b bench) run(w io.Writer) error {
	dir := b.keep
	if dir == "" {
		made, err := os.MkdirTemp("", "sweepbench-*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(made)
		dir = made
	}
	if err := machine(w); err != nil {
		return err
	}
	if b.runs > 0 {
		if err := b.tiny(w, filepath.Join(dir, "tiny")); err != nil {
			return err
		}
	}
	if b.records == 0 {
		return nil
	}
	many := filepath.Join(dir, "many")
	bytes, err := b.generate(many)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d records of %s: %s\n", b.records, humanize.IBytes(uint64(bytes/int64(b.records))),
		humanize.IBytes(uint64(bytes)))
	for _, args := range [][]string{{"status", many}, {"report", many},
		{"report", many, "--quiet", "--html", filepath.Join(dir, "report.html")}} {
		if err := b.time(w, args); err != nil {
			return err
		}
	}
	return nil
}

// machine says how busy the machine is.
func machine(w io.Writer) error {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return err
	}
	load, err := proc.LoadAvg()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "load average at the start: %.2f %.2f %.2f\n", load.Load1, load.Load5, load.Load15)
	return nil
}

// tiny measures a local sweep of runs of one step each.
func (b bench) tiny(w io.Writer, out string) error {
	command := exec.Command(b.benchctl, "run", "--quiet", "--methods", "bp", "--networks", "resnet20", "--batch", "2",
		"--epochs", "1", "--train-limit", "2", "--test-limit", "2", "--threads", "1", "--seeds", fmt.Sprint(b.runs),
		"--jobs", fmt.Sprint(b.jobs), "--out", out)
	var said strings.Builder
	command.Stderr = &said
	begin := time.Now()
	if err := command.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	growth := watched{pid: command.Process.Pid}
	every := time.NewTicker(200 * time.Millisecond)
	defer every.Stop()
	for running := true; running; {
		select {
		case err := <-ended:
			if err != nil {
				return fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
			}
			running = false
		case <-every.C:
			growth.sample(out, b.runs)
		}
	}
	wall := time.Since(begin)
	records, warnings, err := results.ReadDir(out)
	if err != nil || len(warnings) > 0 || len(records) != b.runs {
		return errors.Join(fmt.Errorf("%d records of %d runs, %d of them damaged", len(records), b.runs, len(warnings)), err)
	}
	inside := 0.0
	for _, r := range records {
		if r.Time.TrainSeconds == nil || r.Time.EvalSeconds == nil {
			return fmt.Errorf("%s: has no times", r.ID)
		}
		inside += *r.Time.TrainSeconds + *r.Time.EvalSeconds
	}
	each := (wall.Seconds()*float64(b.jobs) - inside) / float64(b.runs)
	cpu := command.ProcessState.UserTime() + command.ProcessState.SystemTime() // with that of the runs
	fmt.Fprintf(w, "%d runs of one step, %d at a time: %.1f s; overhead %.1f ms a run, %.1f ms of the cpu; resident "+
		"memory of the sweep: %s after a tenth, %s after nine tenths of the runs\n", b.runs, b.jobs, wall.Seconds(), 1000*each,
		(cpu.Seconds()-inside)*1000/float64(b.runs), humanize.IBytes(growth.early),
		humanize.IBytes(growth.late))
	return nil
}

// watched is the resident memory of a process early and late in a sweep.
type watched struct {
	pid         int
	early, late uint64
}

func (g *watched) sample(out string, runs int) {
	process, err := procfs.NewProc(g.pid)
	if err != nil {
		return
	}
	status, err := process.NewStatus()
	if err != nil {
		return
	}
	entries, err := os.ReadDir(out)
	if err != nil {
		return
	}
	if len(entries) <= runs/10 || g.early == 0 {
		g.early = status.VmRSS
	}
	if len(entries) <= runs*9/10 {
		g.late = status.VmRSS
	}
}

// generate writes the records and the manifest of a sweep.
func (b bench) generate(dir string) (bytes int64, err error) {
	template, err := results.Read(b.template)
	if err != nil {
		return 0, err
	}
	for n := len(template.Accuracy.Epochs); len(template.Accuracy.Epochs) < b.epochs; {
		e := template.Accuracy.Epochs[len(template.Accuracy.Epochs)%n]
		e.Epoch = int64(len(template.Accuracy.Epochs)) + 1
		template.Accuracy.Epochs = append(template.Accuracy.Epochs, e)
	}
	template.Spec.Epochs = int64(len(template.Accuracy.Epochs))
	template.Accuracy.BestEpoch = nil
	m := sweepdir.Manifest{Schema: sweepdir.Schema, DataDir: "data", HeartbeatSeconds: 20}
	random := rand.New(rand.NewPCG(1, 2))
	methods := []string{"bp", "checkpoint", "dgl", "predsim", "infopro", "auglocal"}
	for i := range b.records {
		r := template
		r.Spec.Seed = uint64(i%5) + 1
		group := i / 5
		r.Spec.Method = methods[group%len(methods)]
		r.Spec.LR = 0.1 * float64(1+group/len(methods)) // as many experiments as it takes
		r.ID = results.SpecID(r.Spec)
		r.Started = r.Started.Add(time.Duration(i) * time.Minute)
		r.Finished = r.Finished.Add(time.Duration(i) * time.Minute)
		top1 := 0.8 + 0.1*random.Float64()
		r.Accuracy.BestTop1, r.Accuracy.LastTop1 = &top1, &top1
		if err := results.Write(dir, r); err != nil {
			return 0, err
		}
		info, err := os.Stat(results.Path(dir, r.ID))
		if err != nil {
			return 0, err
		}
		bytes += info.Size()
		m.Cells = append(m.Cells, sweepdir.Cell{ID: r.ID, Spec: r.Spec, MemoryBytes: 1 << 30, Threads: 4, Seconds: 3600})
	}
	_, err = m.Write(dir)
	return bytes, err
}

// time prints the wall time and the peak memory of a command.
func (b bench) time(w io.Writer, args []string) error {
	command := exec.Command(b.benchctl, args...)
	var said strings.Builder
	command.Stderr = &said
	begin := time.Now()
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	usage, ok := command.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return errors.New("the system does not report the memory of a process")
	}
	fmt.Fprintf(w, "benchctl %s: %.2f s, %.2f s of the cpu, peak %s\n", strings.Join(args, " "), time.Since(begin).Seconds(),
		(command.ProcessState.UserTime() + command.ProcessState.SystemTime()).Seconds(), humanize.IBytes(uint64(usage.Maxrss)<<10))
	return nil
}
