package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func spec() Spec {
	return Spec{Method: "auglocal", Network: "resnet32", Dataset: "cifar10", Batch: 1024, AuxDepth: 2,
		Modules: 16, Pyramid: true, PyramidCoefficient: 0.5, Selection: "uniform", Precision: "f32",
		Backend: "cpu", Seed: 1, Epochs: 400, LR: 0.8, WeightDecay: 1e-4, Momentum: 0.9, Nesterov: true}
}

// full is a record with every field at something else than its zero value.
func full() Record {
	s := spec()
	s.Device, s.Threads, s.TrainLimit, s.TestLimit, s.ValFraction = "0", 2, 512, 256, 0.1
	s.Augment, s.Quirks, s.Dropout = "crop-flip", "none", "on"
	s.ImageSize, s.WarmupEpochs = 160, new(int64(1))
	s.Optimizer, s.Beta1, s.Beta2, s.Alpha, s.Epsilon = "adamw", 0.9, 0.999, 0.99, 1e-8
	s.Options = map[string]string{"mode": "softmax"}
	r := Record{Schema: Schema, ID: SpecID(s), Attempt: "XYZ", Status: StatusDone, Error: "none", Spec: s,
		Started:  time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Finished: time.Date(2026, 1, 2, 4, 4, 5, 0, time.UTC),
		Environment: Environment{Version: "1.0.0", Commit: "abc", Go: "go1.26", OS: "linux/amd64", CPU: "some cpu",
			Threads: new(int64(2)), MemoryBytes: new(int64(8 << 30)), MemoryLimitBytes: new(int64(4 << 30)), MemoryLimit: "RLIMIT_AS",
			GPU: "some gpu", Driver: "580",
			Libraries: map[string]string{"onednn": "2.6.3"}},
		Model: Model{Parameters: new(int64(466906)), AuxiliaryParameters: new(int64(1341058)),
			Modules: []Module{{Units: 1, AuxDepth: 2, Parameters: 99}}, BuiltIn: "resnet18",
			FLOPsPerSample: FLOPs{Forward: new(int64(139)), Step: new(int64(417))}},
		Memory: Memory{ByCategory: map[string]int64{"gradients": 60, "parameters": 40},
			ByPhase:  map[string]int64{"forward": 80, "backward": 100},
			ByModule: []ModuleBytes{{Module: -1, Name: "shared", Bytes: 100}}, PeakOp: "module0/conv1",
			Top: []Value{{Name: "y", Scope: "module0", Category: "gradients", Bytes: 60}},
			Ladder: []Rung{{Stage: "context", DeviceUsedBytes: 500, DeltaBytes: 500},
				{Stage: "module", DeviceUsedBytes: 400, DeltaBytes: -100}}},
		Time: Time{StepSeconds: &Distribution{0.5, 0.4, 0.6, 100}, StepCPUSeconds: &Distribution{0.9, 0.8, 1.1, 100},
			PhaseSeconds: map[string]float64{"forward": 0.1}},
		Accuracy: Accuracy{BestEpoch: new(int64(1)), Epochs: []Epoch{{Epoch: 1, LR: 0.1,
			ModuleLosses: Series{1, 2}, Heads: []Head{{Module: 0, Name: "a"}}}}},
		GPU: GPU{Name: "some gpu", UUID: "GPU-1", Driver: "580", CUDADriver: "13.0", ComputeCapability: "9.0", ECC: "on", MIG: "off",
			ThrottleReasons: map[string]int64{"idle": 3}, EnergySource: "counter", Epochs: []EpochEnergy{{1, 250}},
			Notes: []string{"a note"}},
	}
	fillPointers(reflect.ValueOf(&r).Elem())
	return r
}

// fillPointers sets every measured number that is still absent.
func fillPointers(v reflect.Value) {
	switch {
	case v.Kind() == reflect.Pointer && v.IsNil() && v.Type().Elem().Kind() == reflect.Int64:
		v.Set(reflect.ValueOf(new(int64(100))))
	case v.Kind() == reflect.Pointer && v.IsNil() && v.Type().Elem().Kind() == reflect.Float64:
		v.Set(reflect.ValueOf(new(0.25)))
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			fillPointers(v.Index(i))
		}
	case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]():
		for i := range v.NumField() {
			fillPointers(v.Field(i))
		}
	}
}

func TestFullFixtureHasNoZeroField(t *testing.T) {
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		if v.IsZero() && path != ".Accuracy.Epochs[0].Heads[0].Module" {
			t.Errorf("%s: got its zero value, so the tests below would not see it dropped", path)
		}
		switch {
		case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]():
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		case v.Kind() == reflect.Slice && v.Type() != reflect.TypeFor[Series]():
			for i := range v.Len() {
				walk(path+"[0]", v.Index(i))
			}
		}
	}
	walk("", reflect.ValueOf(full()))
}

func TestWriteThenReadGivesTheSameRecord(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "demand")
	want := full()
	if err := Write(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(Path(dir, want.ID))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("got %d files (%v), want the record and nothing else", len(entries), err)
	}
}

// The names are the contract of the command's documentation.
func TestFieldNamesAreTheContract(t *testing.T) {
	var got map[string]any
	text, err := marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"": "schema id attempt status error started finished spec environment model memory time accuracy gpu",
		"spec": `method network dataset batch aux_depth modules pyramid pyramid_coefficient selection options
			precision backend device threads seed epochs lr warmup_epochs weight_decay momentum nesterov
			optimizer beta1 beta2 alpha epsilon train_limit test_limit val_fraction image_size augment quirks dropout`,
		"environment": "version commit go os cpu threads memory_bytes memory_limit_bytes memory_limit gpu driver libraries",
		"model":       "parameters auxiliary_parameters modules built_in flops_per_sample",
		"memory": `planned_peak_bytes step_arena_bytes arena_bytes lower_bound_bytes touched_bytes data_buffer_bytes process_peak_bytes
			process_baseline_bytes driver_peak_bytes eager_requested_bytes eager_allocated_bytes eager_reserved_bytes
			eager_searched_bytes by_category by_phase by_module peak_op top ladder`,
		"time": "step_seconds step_cpu_seconds samples_per_second phase_seconds train_seconds eval_seconds " +
			"data_wait_seconds data_share",
		"accuracy": "epochs best_top1 best_epoch last_top1 best_top5 last_top5 selected_top1 selected_epoch",
		"gpu": `name uuid driver cuda_driver compute_capability ecc mig memory_bytes samples interval_seconds sampled_seconds
			process_peak_bytes device_peak_bytes power_mean_watts power_max_watts sm_clock_mean_hertz memory_clock_mean_hertz
			temperature_max_celsius throttle_reasons energy_joules energy_source epochs notes`,
	}
	for section, names := range want {
		fields := got
		if section != "" {
			fields = got[section].(map[string]any)
		}
		names := strings.Fields(names)
		for _, name := range names {
			if _, ok := fields[name]; !ok {
				t.Errorf("%s.%s: not in the file", section, name)
			}
		}
		for name := range fields {
			if !slices.Contains(names, name) {
				t.Errorf("%s.%s: in the file, not in the contract", section, name)
			}
		}
	}
}

func TestNotMeasuredIsAbsentAndMeasuredZeroIsThere(t *testing.T) {
	text, err := marshal(Record{Schema: 1, ID: "a", Status: StatusFailed, Memory: Memory{TouchedBytes: new(int64(0))}})
	if err != nil {
		t.Fatal(err)
	}
	for _, absent := range []string{"arena_bytes", "accuracy", "time", "model", "gpu", "ladder", "started", "null"} {
		if bytes.Contains(text, []byte(absent)) {
			t.Errorf("got %q in the file, want it absent:\n%s", absent, text)
		}
	}
	if !bytes.Contains(text, []byte(`"touched_bytes": 0`)) {
		t.Errorf("a measured 0 is not in the file:\n%s", text)
	}
}

func TestSpecIDIsStable(t *testing.T) {
	// The hashes come from: printf '%s' '<canonical JSON>' | sha256sum | cut -c1-16
	for _, row := range []struct {
		name, canonical, want string
		spec                  Spec
	}{
		{"the smallest spec",
			`{"backend":"","batch":0,"dataset":"","epochs":0,"lr":0,"method":"","momentum":0,"nesterov":false,"network":"",` +
				`"precision":"","seed":0,"weight_decay":0}`, "684938cd935130c4", Spec{}},
		{"a spec of the paper",
			`{"aux_depth":2,"backend":"cpu","batch":1024,"dataset":"cifar10","epochs":400,"lr":0.8,` +
				`"method":"auglocal","modules":16,"momentum":0.9,"nesterov":true,"network":"resnet32","precision":"f32",` +
				`"pyramid":true,"pyramid_coefficient":0.5,"seed":1,"selection":"uniform","weight_decay":0.0001}`,
			"resnet32-auglocal-cifar10-37ab989045f28164", spec()},
	} {
		if got := string(canonical(row.spec)); got != row.canonical {
			t.Errorf("%s: canonical text: got %s, want %s", row.name, got, row.canonical)
		}
		if got := SpecID(row.spec); got != row.want {
			t.Errorf("%s: got %s, want %s", row.name, got, row.want)
		}
	}
}

func TestEveryFieldButTheDeviceChangesTheID(t *testing.T) {
	whole := full().Spec
	id := SpecID(whole)
	v := reflect.ValueOf(&whole).Elem()
	for i := range v.NumField() {
		name, old := v.Type().Field(i).Name, reflect.ValueOf(v.Field(i).Interface())
		v.Field(i).SetZero()
		changed := SpecID(whole) != id
		if want := name != "Device"; changed != want {
			t.Errorf("%s: got changed %v, want %v", name, changed, want)
		}
		v.Field(i).Set(old)
	}
}

func TestIDsAreSafeFileNames(t *testing.T) {
	for _, name := range []string{"", "../../etc/passwd", "a b/c", "Résumé", strings.Repeat("x", 999), "a\x00b", "---"} {
		s := Spec{Network: name, Method: name, Dataset: name, LR: math.NaN()}
		if id := SpecID(s); !validID(id) || strings.Contains(id, "--") {
			t.Errorf("%q: got id %q, want a plain file name", name, id)
		}
	}
}

func TestNumbersThatAreNotFinite(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	t.Run("every measured number is left out and the caller's record stays", func(t *testing.T) {
		r := full()
		setFloats(reflect.ValueOf(&r).Elem(), nan)
		r.Time.PhaseSeconds = map[string]float64{"forward": inf, "update": 1}
		r.Accuracy.Epochs[0].ModuleLosses = Series{1, nan, inf, 2}
		r.Status = StatusDiverged
		dir := t.TempDir()
		if err := Write(dir, r); err != nil {
			t.Fatal(err)
		}
		got, err := Read(Path(dir, r.ID))
		if err != nil {
			t.Fatal(err)
		}
		if got.Accuracy.Epochs[0].TrainLoss != nil || got.Accuracy.BestTop1 != nil || got.Time.TrainSeconds != nil {
			t.Errorf("got %+v, want no loss, accuracy or time", got)
		}
		if d := cmp.Diff(map[string]float64{"update": 1}, got.Time.PhaseSeconds); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(Series{1, nan, nan, 2}, got.Accuracy.Epochs[0].ModuleLosses, cmpopts.EquateNaNs()); d != "" {
			t.Error(d)
		}
		if p := r.Accuracy.Epochs[0].TrainLoss; p == nil || !math.IsNaN(*p) || len(r.Time.PhaseSeconds) != 2 {
			t.Error("writing changed the caller's record")
		}
	})
	for name, spoil := range map[string]func(*Record){
		"spec.lr":                  func(r *Record) { r.Spec.LR = nan },
		"time.step_seconds.median": func(r *Record) { r.Time.StepSeconds.Median = inf },
		"accuracy.epochs[0].lr":    func(r *Record) { r.Accuracy.Epochs[0].LR = nan },
	} {
		t.Run("refused at "+name, func(t *testing.T) {
			r := full()
			spoil(&r)
			if err := Write(t.TempDir(), r); err == nil || !strings.Contains(err.Error(), name+": ") {
				t.Errorf("got %v, want an error that names %s", err, name)
			}
		})
	}
}

// setFloats sets every measured float.
func setFloats(v reflect.Value, x float64) {
	switch {
	case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Float64:
		v.Set(reflect.ValueOf(&x))
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			setFloats(v.Index(i), x)
		}
	case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]():
		for i := range v.NumField() {
			setFloats(v.Field(i), x)
		}
	}
}

func TestWriteRefusesFaults(t *testing.T) {
	for name, row := range map[string]struct {
		spoil func(*Record)
		want  string
	}{
		"an id that leaves the folder": {func(r *Record) { r.ID = "../x" }, "id: \""},
		"an id that is not the spec's": {func(r *Record) { r.ID = "x" }, "the id of its spec"},
		"negative step time": {func(r *Record) { r.Time.StepSeconds.Median = -1 },
			"time.step_seconds.median: -1: must not be negative"},
		"negative rate":  {func(r *Record) { r.Time.SamplesPerSecond = new(-2.0) }, "time.samples_per_second: -2"},
		"negative phase": {func(r *Record) { r.Time.PhaseSeconds["forward"] = -3 }, "time.phase_seconds.forward: -3"},
		"negative seconds of an epoch": {func(r *Record) { r.Accuracy.Epochs[0].Seconds = new(-4.0) },
			"accuracy.epochs[0].seconds: -4"},
		"no status": {func(r *Record) { r.Status = "" }, "status: \""},
		"a percentage for a fraction": {func(r *Record) { r.Accuracy.BestTop1 = new(93.1) },
			"accuracy.best_top1: 93.1: must be a fraction"},
		"a negative size":               {func(r *Record) { r.Memory.ArenaBytes = new(int64(-1)) }, "memory.arena_bytes: -1: must be"},
		"a negative size of a category": {func(r *Record) { r.Memory.ByCategory["gradients"] = -1 }, "memory.by_category.gradients"},
		"a negative size of a stage": {func(r *Record) { r.Memory.Ladder[0].DeviceUsedBytes = -1 },
			"memory.ladder[0].device_used_bytes: -1: must be"},
		"a negative count of a reason": {func(r *Record) { r.GPU.ThrottleReasons["idle"] = -1 }, "gpu.throttle_reasons.idle"},
		"an endless energy": {func(r *Record) { r.GPU.Epochs[0].EnergyJoules = math.Inf(1) },
			"gpu.epochs[0].energy_joules: +Inf: must be finite"},
		"another schema": {func(r *Record) { r.Schema = 2 }, "schema: 2: must be 1"},
		"a year no reader takes": {func(r *Record) { r.Started = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
			"started: year 10000: must be"},
		"a percentage in an epoch": {func(r *Record) { r.Accuracy.Epochs[0].Heads[0].TestTop1 = new(2.0) },
			"accuracy.epochs[0].heads[0].test_top1"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := full()
			row.spoil(&r)
			if err := Write(dir, r); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got error %v, want one with %q", err, row.want)
			}
			if entries, _ := os.ReadDir(dir); len(entries) != 0 {
				t.Errorf("got %d files, want none", len(entries))
			}
		})
	}
}

// TestFullDiskKeepsTheOldRecord writes under a real limit on the size of files,
// in a separate process because the limit is the process's.
func TestFullDiskKeepsTheOldRecord(t *testing.T) {
	const variable = "RESULTS_TEST_FULL_DISK"
	if dir := os.Getenv(variable); dir != "" {
		signal.Ignore(syscall.SIGXFSZ)
		limit := syscall.Rlimit{Cur: 100, Max: 100}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			os.Exit(3)
		}
		r := full()
		r.Error = "the second writing"
		if err := Write(dir, r); !errors.Is(err, syscall.EFBIG) {
			os.Stderr.WriteString("got no EFBIG\n")
			os.Exit(4)
		}
		os.Exit(0)
	}
	dir := t.TempDir()
	old := full()
	if err := Write(dir, old); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestFullDiskKeepsTheOldRecord$")
	child.Env = append(os.Environ(), variable+"="+dir)
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	got, err := Read(Path(dir, old.ID))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(old, got); d != "" {
		t.Errorf("the old record changed: %s", d)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("got %d files, want no leftovers beside the record", len(entries))
	}
}

func TestWriteSaysWhereItFailed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(file, full()); err == nil ||
		!strings.Contains(err.Error(), "folder of records: "+file+" was not written: not a directory") {
		t.Errorf("folder that is a file: got %v, want its name and reason", err)
	}
	dir := t.TempDir()
	target := Path(dir, full().ID)
	if err := os.MkdirAll(filepath.Join(target, "inside"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, full()); err == nil || !strings.Contains(err.Error(), target+" was not written") {
		t.Errorf("rename onto a folder: got %v, want the target's name", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("got %d entries, want no leftovers", len(entries))
	}
}

func TestReadDirGoesOnAfterBadFiles(t *testing.T) {
	dir := t.TempDir()
	good := full()
	if err := Write(dir, good); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(Path(dir, good.ID))
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Replace(text, []byte(`"schema": 1`), []byte(`"schema": 7`), 1)
	files := map[string]struct {
		text string
		want string
	}{
		"a-partial.json":  {string(text[:len(text)/2]), "truncated after"},
		"b-empty.json":    {"\n", "file is empty"},
		"c-broken.json":   {"{]", "not JSON at byte 2"},
		"d-newer.json":    {string(newer), "schema 7 is newer than this program, which reads up to 1"},
		"e-other.json":    {`{"name": "not ours"}`, "schema: missing"},
		"f-two.json":      {string(text) + string(text), "not JSON at byte"},
		"g-type.json":     {`{"schema": 1, "spec": {"batch": "many"}}`, "spec.batch: JSON string at byte"},
		"g-nan.json":      {strings.Replace(string(text), `"lr": 0.8`, `"lr": "NaN"`, 1), "must be a number"},
		"g-nothing.json":  {`{"schema": 1, "id": "a", "status": "done", "spec": {}}`, "spec.method: missing"},
		"g-list.json":     {"[1]", "file: JSON array"},
		"g-null.json":     {"null", "schema: missing"},
		"g-deep.json":     {strings.Repeat("[", 100000), "max depth"},
		"g-garbage.json":  {"\x00\xff\x7fELF", "not JSON at byte 1"},
		"g-long.json":     {`{"schema": 1, "error": "` + strings.Repeat("x", 10<<20), "truncated"},
		"h-status.json":   {strings.Replace(string(text), `"done"`, `"great"`, 1), `status: "great": must be`},
		"i-schema.json":   {`{"schema": "one"}`, "schema"},
		"j-old.json":      {`{"schema": 0}`, "schema 0: must be"},
		".k-hidden.json1": {"{", ""},
		"notes.txt":       {"{", ""},
	}
	for name, f := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(f.text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "k-folder.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "l-pipe.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	records, warnings, err := ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 1 || records[0].ID != good.ID {
		t.Errorf("got %d records, want the good one", len(records))
	}
	if len(warnings) != 19 {
		t.Errorf("got %d warnings, want 19", len(warnings))
	}
	for _, w := range warnings {
		want := files[filepath.Base(w.Path)].want
		if s := w.String(); strings.Contains(s, "\n") || !strings.Contains(s, w.Path) || !strings.Contains(s, want) {
			t.Errorf("got %q, want the path and %q", s, want)
		}
	}
}

func TestReadDirSaysWhenTheFolderIsMissing(t *testing.T) {
	if _, _, err := ReadDir(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want not exist", err)
	}
}

func TestNewerSchemaIsTyped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.json")
	if err := os.WriteFile(path, []byte(`{"schema": 2, "id": 5, "spec": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Read(path)
	var newer *NewerSchemaError
	if !errors.As(err, &newer) || *newer != (NewerSchemaError{path, 2, 1}) || newer.Hint() == "" {
		t.Errorf("got %#v, want a NewerSchemaError with path, 2, 1 and a hint", err)
	}
}

func TestUnknownFieldsArePassedOver(t *testing.T) {
	text, err := marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	more := bytes.Replace(text, []byte(`"spec": {`), []byte(`"invented": [1], "spec": {"later": {"a": 1},`), 1)
	got, err := decode(more)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(full(), got); d != "" {
		t.Error(d)
	}
}

func TestMigrationsRunInOrderAndKeepDigits(t *testing.T) {
	steps := []migration{
		func(f map[string]any) error { f["b"] = f["a"]; delete(f, "a"); return nil },
		func(f map[string]any) error { f["c"] = f["b"]; delete(f, "b"); return nil },
		func(f map[string]any) error {
			if f["c"] == nil {
				return errors.New("c: got none")
			}
			return nil
		},
	}
	got, err := migrate([]byte(`{"schema":1,"a":18446744073709551615}`), 1, steps)
	if want := `{"c":18446744073709551615,"schema":4}`; err != nil || string(got) != want {
		t.Errorf("from 1: got %s (%v), want %s", got, err, want)
	}
	if _, err := migrate([]byte(`{"schema":3}`), 3, steps); err == nil ||
		!strings.Contains(err.Error(), "migrating schema 3 to 4: c: got none") {
		t.Errorf("failing step: got %v, want which step and why", err)
	}
	if len(migrations()) != Schema-1 {
		t.Errorf("got %d migrations, want %d for schema %d", len(migrations()), Schema-1, Schema)
	}
}

func FuzzDecode(f *testing.F) {
	text, err := marshal(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)/3])
	f.Add([]byte(`{"schema":1,"id":"a","status":"done","accuracy":{"epochs":[{"module_losses":[null,1e308]}]}}`))
	f.Add([]byte(`{"schema":1,"id":"a","status":"oom","time":{"step_seconds":null,"phase_seconds":{"":-0}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		record, err := decode(text)
		if err != nil {
			return
		}
		again, err := marshal(record)
		if err != nil {
			t.Fatalf("a record that was read cannot be written: %v", err)
		}
		second, err := decode(again)
		if err != nil {
			t.Fatalf("a record that was written cannot be read: %v\n%s", err, again)
		}
		third, err := marshal(second)
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("writing is not stable (%v):\n%s\n%s", err, again, third)
		}
		SpecID(record.Spec)
	})
}

// TestSlim: what is done to records is done as they are read, from a folder, a file or a collection; the
// last epoch keeps its classifiers, and the files stay as they are.
func TestSlim(t *testing.T) {
	dir := t.TempDir()
	r := full()
	r.Accuracy.Epochs = append(r.Accuracy.Epochs[:1:1], r.Accuracy.Epochs[0])
	if err := Write(dir, r); err != nil {
		t.Fatal(err)
	}
	together := filepath.Join(t.TempDir(), "all.json")
	if err := WriteCollection(together, nil, []Record{r}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, Path(dir, r.ID), together} {
		records, warnings, err := ReadAny(path, Slim)
		if err != nil || len(warnings) > 0 || len(records) != 1 {
			t.Fatalf("%s: %d records, %v, %v", path, len(records), warnings, err)
		}
		e := records[0].Accuracy.Epochs
		if len(e) != 2 || e[0].Heads != nil || e[1].Heads == nil || e[0].ModuleLosses != nil || e[1].ModuleLosses != nil ||
			e[0].TestTop1 == nil {
			t.Errorf("%s: got %+v", path, e)
		}
		whole, _, err := ReadAny(path)
		if d := cmp.Diff([]Record{r}, whole); err != nil || d != "" {
			t.Errorf("%s: without Slim: %v %s", path, err, d)
		}
	}
}

// TestCollectionIsOneRecordALine: a line of a diff is a record, without the parts that only explain a difference; the
// flags of the plan come back, and the format of older releases is still read.
func TestCollectionIsOneRecordALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.json")
	records := []Record{full(), full(), full()}
	for i := range records {
		records[i].Spec.Seed = uint64(i)
		records[i].ID = SpecID(records[i].Spec)
	}
	flags := []string{"--networks=resnet20", "--batch=8"}
	brief := slices.Clone(records)
	for i := range brief {
		Brief(&brief[i])
	}
	if err := WriteCollection(path, flags, brief); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) != len(records)+2 {
		t.Fatalf("got %d lines, want a head, %d records and an end", len(lines), len(records))
	}
	for i, line := range lines[1 : len(lines)-1] {
		var one Record
		if err := json.Unmarshal([]byte(strings.TrimSuffix(line, ",")), &one); err != nil || one.ID != records[i].ID {
			t.Errorf("line %d: got %s, %v, want the record %s", i+2, one.ID, err, records[i].ID)
		}
	}
	if strings.Contains(string(text), `"by_module"`) || strings.Contains(string(text), `"top"`) {
		t.Error("by_module or top is in the file")
	}
	if got, err := PlanFlags(path); err != nil || !slices.Equal(got, flags) {
		t.Errorf("got the flags %q, %v, want %q", got, err, flags)
	}
	old, err := json.MarshalIndent(map[string]any{"schema": 1, "records": records}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if got, warnings, err := Parse("old.json", old); err != nil || len(warnings) > 0 || len(got) != 3 || got[0].Memory.Top == nil {
		t.Errorf("old format: %d records, %v, %v", len(got), warnings, err)
	}
	if err := WriteCollection(path, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got, _, err := ReadAny(path); err != nil || len(got) != 0 {
		t.Errorf("empty collection: %v, %v", got, err)
	}
}
