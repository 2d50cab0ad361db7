// Command benchpeer times our training step against the same step in PyTorch
// (scripts/peer_bench.py), each in a separate process, in turns, and
// prints the ratios of step time and of peak memory: of the process on the cpu, and on a GPU
// of our arena to the peer's max_memory_allocated.
//
//	go run ./scripts/benchpeer -methods bp,auglocal -batch 128 -turns 8
//	benchpeer -backend cuda -precision tf32 -network resnet110 -batch 1024 -json out.json
//
// With -floors it prints how long a step has to take at the least: on the cpu by the rates that it measures on this machine
// (scripts/cpu_ceilings.cc), beside the time of each kind of op; for a GPU by those of a data sheet.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/localbench/localbench/reports/table"
	"github.com/localbench/localbench/results"
	"github.com/localbench/localbench/suite"
	"github.com/localbench/localbench/suite/datasets"
	"github.com/localbench/localbench/suite/meter"
	"github.com/localbench/localbench/suite/train"
)

// options are the settings of both sides.
type options struct {
	methods, network, dataset   string
	python, script              string
	batch, threads, depth       int
	turns, steps                int
	worker                      string
	backend, precision, library string
	ceilings                    string // source of the program that measures the cpu
	json                        string // file that a line a method is appended to
	peerDevice, book            string
	overlap                     int
	budget, workspace           size // of our arena, and limit of a kernel's workspace; 0: no limit
	fuseNorm, store             string
	compile, floors, cudnn      bool
}

// size is a number of bytes as a flag.
type size uint64

func (s size) String() string { return fmt.Sprint(uint64(s)) }

// Set reads a size such as 512MiB.
func (s *size) Set(text string) error {
	bytes, err := humanize.ParseBytes(text)
	*s = size(bytes)
	return err
}

func main() {
	var o options
	flag.StringVar(&o.methods, "methods", "bp,checkpoint,dgl,predsim,infopro,auglocal", "methods, comma separated")
	flag.StringVar(&o.network, "network", "resnet32", "network; the peer trains those for ImageNet by bp only")
	flag.StringVar(&o.dataset, "dataset", "cifar10", "cifar10 or imagenet: size of the images, and classes")
	flag.StringVar(&o.python, "python", "/usr/bin/python3", "interpreter that has PyTorch")
	flag.StringVar(&o.script, "script", "scripts/peer_bench.py", "the peer")
	flag.IntVar(&o.batch, "batch", 128, "samples a step")
	flag.IntVar(&o.threads, "threads", 2, "threads of each side")
	flag.IntVar(&o.depth, "aux-depth", 2, "AugLocal's d")
	flag.IntVar(&o.turns, "turns", 8, "turns of each side")
	flag.IntVar(&o.steps, "steps", 3, "steps a turn")
	flag.StringVar(&o.backend, "backend", "cpu", "cpu or cuda")
	flag.StringVar(&o.precision, "precision", "f32", "f32, tf32 or bf16")
	flag.StringVar(&o.library, "library", "build", "folder of the CUDA backend's library")
	flag.StringVar(&o.json, "json", "", "append a line for each method to this file")
	flag.StringVar(&o.book, "book", "", "tuning cache of our convolutions; empty: the built-in one")
	flag.StringVar(&o.peerDevice, "peer-device", "", "cpu or cuda; empty: as ours; none: time our step alone")
	flag.IntVar(&o.overlap, "overlap", 1, "our local modules in flight")
	flag.Var(&o.budget, "budget", "our arena has at most this size, as with benchctl's flag: 512MiB")
	flag.Var(&o.workspace, "workspace-limit", "as benchctl's flag: 64MiB")
	flag.StringVar(&o.fuseNorm, "fuse-norm", "", "as benchctl's flag")
	flag.StringVar(&o.store, "store", "", "as benchctl's flag")
	flag.BoolVar(&o.compile, "compile", false, "the peer compiles the network of bp")
	flag.BoolVar(&o.cudnn, "cudnn", false, "cuDNN's convolutions before our own where the tuning cache has none")
	flag.BoolVar(&o.floors, "floors", false, "print the operations and the bytes that our step has to do:\n"+
		"on the cpu with the time that they take at the least on this machine, and that they took; of cuda without running anything")
	flag.StringVar(&o.ceilings, "ceilings", "scripts/cpu_ceilings.cc",
		"with -floors on the cpu: the program that measures the machine")
	flag.StringVar(&o.worker, "worker", "", "internal: be our side for this method")
	flag.Parse()
	if err := o.run(); err != nil {
		fmt.Fprintln(os.Stderr, "benchpeer:", err)
		os.Exit(1)
	}
}

func (o options) run() error {
	if o.worker != "" {
		return o.work(os.Stdin, os.Stdout)
	}
	methods := strings.Split(o.methods, ",")
	if o.floors {
		if o.budget > 0 {
			return errors.New("-floors and -budget can't be combined: the cost of a budget depends on the device")
		}
		if o.backend == "cpu" {
			return o.measureFloors(os.Stdout, methods)
		}
		return o.printFloors(os.Stdout, methods)
	}
	var failed error
	for _, method := range methods { // one that fails does not keep the others from being timed
		if err := o.compare(method); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", method, err))
		}
	}
	return failed
}

// summary is the last line of both sides.
type summary struct {
	Baseline int64  `json:"process_baseline_bytes"`
	Peak     int64  `json:"process_peak_bytes"`
	Torch    string `json:"torch,omitempty"`
	Planned  int64  `json:"planned_peak_bytes,omitempty"`
	Arena    int64  `json:"arena_bytes,omitempty"`
	// Allocated is the peak of the peer's allocator (max_memory_allocated), on a GPU.
	Allocated int64             `json:"max_memory_allocated_bytes,omitempty"`
	Device    string            `json:"device,omitempty"`
	Floor     *floor            `json:"floor,omitempty"`
	Facts     map[string]string `json:"facts,omitempty"`
}

// side is one of the two processes.
type side struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	seconds []float64
	// device are the seconds of a step in each turn by the device's own clock: without the copies of
	// the batch, and without what the host does meanwhile. Ours are a mean, the peer's a median.
	device []float64
}

func (o options) compare(method string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	number := func(name string, n int) []string { return []string{name, fmt.Sprint(n)} }
	shared := slices.Concat(number("-batch", o.batch), number("-threads", o.threads), number("-aux-depth", o.depth))
	ours, err := start(self, append([]string{"-worker", method, "-overlap", fmt.Sprint(o.overlap), "-budget", o.budget.String(),
		"-workspace-limit", o.workspace.String(), "-network", o.network, "-dataset", o.dataset, "-backend", o.backend,
		"-precision", o.precision, "-library", o.library, "-book", o.book, fmt.Sprintf("-cudnn=%t", o.cudnn),
		"-fuse-norm", o.fuseNorm, "-store", o.store}, shared...))
	if err != nil {
		return err
	}
	defer ours.stop()
	if o.peerDevice == "none" {
		return o.alone(method, ours)
	}
	for i := range shared {
		if i%2 == 0 {
			shared[i] = "-" + shared[i]
		}
	}
	theirs := []string{o.script, "--interactive", "--method", method, "--network", o.network, "--dataset", o.dataset, "--device",
		cmp.Or(o.peerDevice, o.backend), "--precision", o.precision}
	if o.compile && method == "bp" {
		theirs = append(theirs, "--compile")
	}
	peer, err := start(o.python, append(theirs, shared...))
	if err == nil {
		defer peer.stop()
	}
	if err := ours.warm(); err != nil { // both are, before either is timed
		return err
	}
	if err == nil {
		err = peer.warm()
	}
	if err != nil { // ours is worth having without it
		return errors.Join(fmt.Errorf("the peer: %w", err), o.alone(method, ours))
	}
	var ratios []float64
	for range o.turns {
		a, err := ours.turn(o.steps)
		if err != nil {
			return err
		}
		b, err := peer.turn(o.steps)
		if err != nil {
			return err
		}
		ratios = append(ratios, b/a)
	}
	our, err := ours.quit()
	if err != nil {
		return err
	}
	their, err := peer.quit()
	if err != nil {
		return err
	}
	o.print(method, ours, peer, our, their, ratios)
	return o.append(method, ours, our, map[string]any{"peer_compiled": o.compile && method == "bp",
		"peer_step_seconds": peer.seconds, "peer_device_step_seconds": peer.device, "times_as_fast": median(ratios), "peer": their})
}

// alone times our step without a peer.
func (o options) alone(method string, ours *side) error {
	if err := ours.warm(); err != nil {
		return err
	}
	for range o.turns {
		if _, err := ours.turn(o.steps); err != nil {
			return err
		}
	}
	our, err := ours.quit()
	if err != nil {
		return err
	}
	fmt.Printf("%s %s %s batch %d, %d modules in flight, %d x %d steps\n  step    %.1f ms (%.0f samples/s)\n  memory  arena %s\n",
		o.network, o.dataset, method, o.batch, o.overlap, o.turns, o.steps,
		1e3*median(ours.seconds), float64(o.batch)/median(ours.seconds), table.Bytes(our.Arena))
	return o.append(method, ours, our, nil)
}

// append adds our figures, and those of the peer, as a line of JSON to a file.
func (o options) append(method string, ours *side, our summary, theirs map[string]any) error {
	if o.json == "" {
		return nil
	}
	f, err := os.OpenFile(o.json, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	row := map[string]any{"network": o.network, "dataset": o.dataset, "method": method, "batch": o.batch, "backend": o.backend,
		"precision": o.precision, "overlap": o.overlap, "budget_bytes": o.budget, "workspace_limit_bytes": o.workspace,
		"book": o.book, "cudnn": o.cudnn, "fuse_norm": o.fuseNorm, "store": o.store,
		"step_seconds": ours.seconds, "device_step_seconds": ours.device, "ours": our}
	maps.Copy(row, theirs)
	return json.NewEncoder(f).Encode(row)
}

func (o options) print(method string, ours, peer *side, our, their summary, ratios []float64) {
	rate := func(s *side) float64 { return float64(o.batch) / median(s.seconds) }
	fmt.Printf("%s %s %s batch %d, %d threads, %d x %d steps in turn (PyTorch %s)\n",
		o.network, o.dataset, method, o.batch, o.threads, o.turns, o.steps, their.Torch)
	fmt.Printf("  step    ours %.1f ms (%.0f samples/s), peer %.1f ms (%.0f samples/s): %.2f times as fast (by turn %.2f to %.2f)\n",
		1e3*median(ours.seconds), rate(ours), 1e3*median(peer.seconds), rate(peer),
		median(ratios), slices.Min(ratios), slices.Max(ratios))
	switch {
	case o.backend != "cpu" && their.Allocated == 0: // a peer on the cpu
		fmt.Printf("  memory  our arena %s, peer's not known (%s)\n", table.Bytes(our.Arena), their.Device)
		return
	case o.backend != "cpu":
		fmt.Printf("  memory  our arena %s, peer's max_memory_allocated %s: %.2f times (%s)\n",
			table.Bytes(our.Arena), table.Bytes(their.Allocated), float64(our.Arena)/float64(their.Allocated), their.Device)
		return
	}
	a, b := our.Peak-our.Baseline, their.Peak-their.Baseline
	fmt.Printf("  memory  ours %s, peer %s over their baselines: %.2f times\n",
		table.Bytes(a), table.Bytes(b), float64(a)/float64(b))
}

func start(name string, args []string) (*side, error) {
	c := exec.Command(name, args...)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	return &side{command: c, in: in, out: bufio.NewReader(out)}, nil
}

// warm runs a warm-up step.
func (s *side) warm() error {
	_, err := s.turn(1)
	s.seconds, s.device = nil, nil
	return err
}

// turn runs some steps and returns their median in seconds.
func (s *side) turn(steps int) (float64, error) {
	if _, err := fmt.Fprintf(s.in, "run %d\n", steps); err != nil {
		return 0, err
	}
	var answer struct {
		Seconds []float64 `json:"step_seconds"`
		Device  *float64  `json:"device_step_seconds"`
	}
	if err := s.answer(&answer); err != nil {
		return 0, err
	}
	s.seconds = append(s.seconds, answer.Seconds...)
	if answer.Device != nil {
		s.device = append(s.device, *answer.Device)
	}
	return median(answer.Seconds), nil
}

func (s *side) quit() (sum summary, err error) {
	if _, err := fmt.Fprintln(s.in, "quit"); err != nil {
		return sum, err
	}
	if err := s.answer(&sum); err != nil {
		return sum, err
	}
	return sum, s.command.Wait()
}

// stop ends a side that is still running, so that it releases the GPU's memory.
func (s *side) stop() {
	_ = s.command.Process.Kill() // has ended already, if all went well
	_ = s.command.Wait()
}

func (s *side) answer(to any) error {
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s ended: %w", s.command.Path, cmp.Or(s.command.Wait(), err))
	}
	return json.Unmarshal(line, to)
}

func median(x []float64) float64 {
	sorted := slices.Sorted(slices.Values(x))
	return sorted[len(sorted)/2]
}

// ours is our side's run of a method.
func (o options) ours(method string) (*suite.Run, error) {
	runs, err := suite.Request{Methods: []string{method}, Networks: []string{o.network}, Datasets: []string{o.dataset},
		Batches: []int64{int64(o.batch)}, AuxDepths: []int{o.depth}, Threads: o.threads, Backend: o.backend, Precision: o.precision,
		Settings: results.Settings{Overlap: o.overlap, Budget: int64(o.budget), WorkspaceLimit: int64(o.workspace),
			FuseNorm: o.fuseNorm, Store: o.store}}.Build()
	if err != nil {
		return nil, err
	}
	return runs[0], nil
}

// work is our side: one fixed batch, the same protocol as the peer's.
func (o options) work(in io.Reader, out io.Writer) error {
	run, err := o.ours(o.worker)
	if err != nil {
		return err
	}
	device, err := run.OpenDevice(suite.Host{LibraryDir: o.library, PlanBook: o.book, CUDNNFirst: o.cudnn})
	if err != nil {
		return err
	}
	defer device.Close()
	options, err := run.SessionOptions(device)
	if err != nil {
		return err
	}
	debug.FreeOSMemory()
	baseline, err := meter.Self().Memory()
	if err != nil {
		return err
	}
	if err := meter.Self().ResetPeak(); err != nil && o.backend == "cpu" {
		return err // on a GPU the memory of the process is not used
	}
	session, err := train.NewSession(device, options)
	if err != nil {
		return err
	}
	defer session.Close()
	if err := session.Initialise(1); err != nil {
		return err
	}
	step, err := o.stepper(session, options.Step.KeepInputs)
	if err != nil {
		return err
	}
	for range 3 { // the third is the first replay on a GPU
		if _, err := step(); err != nil {
			return err
		}
	}
	if err := obey(in, out, step, func() []float64 { return session.Training.Trace(true) }); err != nil {
		return err
	}
	peak, err := meter.Self().Memory()
	if err != nil {
		return err
	}
	least := floor{}
	for _, f := range floorsOf(session.Training.Graph) {
		least.add(f)
	}
	sum := summary{Baseline: known(baseline.ResidentBytes), Peak: known(peak.PeakBytes),
		Planned: session.Training.Profile.PlannedPeakBytes, Arena: session.ArenaBytes(), Floor: &least, Facts: device.Facts()}
	return json.NewEncoder(out).Encode(sum)
}

// stepper returns a function that runs a step on one fixed batch and returns its seconds. As in training the next batch is fed
// while a step runs, if the step keeps its inputs.
func (o options) stepper(session *train.Session, keepInputs bool) (func() (float64, error), error) {
	set, err := datasets.Find(o.dataset)
	if err != nil {
		return nil, err
	}
	images, labels := make([]byte, o.batch*set.Shape.Bytes()), make([]int32, o.batch)
	for i := range images {
		images[i] = byte(i * 2654435761 >> 24)
	}
	for i := range labels {
		labels[i] = int32(i % set.Classes)
	}
	batch := train.Batch{Images: images, Labels: labels}
	if err := session.Feed(batch, 0.1); err != nil {
		return nil, err
	}
	// As in training the next batch is fed while a step runs.
	return func() (float64, error) {
		begin := time.Now()
		if err := session.Launch(); err != nil {
			return 0, err
		}
		if keepInputs {
			if err := session.Feed(batch, 0.1); err != nil {
				return 0, err
			}
		}
		_, err := session.Outcome()
		if err == nil && !keepInputs {
			err = session.Feed(batch, 0.1)
		}
		return time.Since(begin).Seconds(), err
	}, nil
}

// known is a number of bytes; 0 if unknown.
func known(bytes *int64) int64 {
	if bytes == nil {
		return 0
	}
	return *bytes
}

// obey executes "run K" until "quit" or the end of the input; trace gives the seconds of the ops
// since its last call.
func obey(in io.Reader, out io.Writer, step func() (float64, error), trace func() []float64) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var count int
		if lines.Text() == "quit" {
			return nil
		}
		if _, err := fmt.Sscanf(lines.Text(), "run %d", &count); err != nil {
			return fmt.Errorf("standard input: %q: must be 'run K' or 'quit'", lines.Text())
		}
		var seconds []float64
		trace()
		for range count {
			s, err := step()
			if err != nil {
				return err
			}
			seconds = append(seconds, s)
		}
		device := 0.0
		for _, s := range trace() {
			device += s / float64(max(count, 1))
		}
		if err := json.NewEncoder(out).Encode(map[string]any{"step_seconds": seconds, "device_step_seconds": device}); err != nil {
			return err
		}
	}
	return lines.Err()
}
