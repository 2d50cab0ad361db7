package gpu

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// buildStub compiles testdata/nvml.c as a shared library. NVML's functions are bound
// once a process, so all tests share it; $NVML_STUB chooses its answers.
func buildStub(t *testing.T) string {
	t.Helper()
	header, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/NVIDIA/go-nvml").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	path := filepath.Join(t.TempDir(), "libnvml-stub.so")
	out, err := exec.Command("cc", "-shared", "-fPIC", "-w", "-I", filepath.Join(strings.TrimSpace(string(header)), "pkg", "nvml"),
		"-o", path, filepath.Join("testdata", "nvml.c")).CombinedOutput()
	if err != nil {
		t.Fatalf("cc: %v: %s", err, out)
	}
	return path
}

// TestBinding goes through go-nvml into a library with NVML's functions.
func TestBinding(t *testing.T) {
	path := buildStub(t)
	open := func() (Library, error) { return openAt(path) }
	stub := Facts{Name: "Stub 100", UUID: "GPU-00000000-1111-2222-3333-444444444444", MemoryBytes: new(int64(80 << 30)),
		ComputeCapability: "9.0", ECC: ModeOn}

	t.Run("the inventory, of a driver that knows no MIG", func(t *testing.T) {
		want := Inventory{Driver: "580.65.06", CUDA: "12.4", Cards: []Facts{stub}}
		if d := cmp.Diff(want, Find(open)); d != "" {
			t.Error(d)
		}
	})
	t.Run("a card that is lost does not hide the other", func(t *testing.T) {
		t.Setenv("NVML_STUB", "two cards")
		found := Find(open)
		if len(found.Cards) != 1 || found.Why != "GPU 1: GPU is lost" {
			t.Errorf("got %d cards, why %q, want the other card and what is wrong with card 1", len(found.Cards), found.Why)
		}
	})
	t.Run("a driver without cards", func(t *testing.T) {
		t.Setenv("NVML_STUB", "no card")
		if found := Find(open); len(found.Cards) != 0 || found.Why != "the driver is loaded but lists no GPU" {
			t.Errorf("got %+v, want no card and why", found)
		}
	})
	t.Run("a library whose driver is not loaded", func(t *testing.T) {
		t.Setenv("NVML_STUB", "driver not loaded")
		if found := Find(open); found.Why != "NVML was loaded but can't be initialised: Driver Not Loaded" {
			t.Errorf("got %q, want the library's own words", found.Why)
		}
	})

	l, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Pick(l, "")
	if err != nil {
		t.Fatal(err)
	}
	all := Reading{ProcessUsedBytes: new(int64(1 << 30)), DeviceUsedBytes: new(int64(3 << 30)), PowerWatts: new(312.5),
		SMClockHertz: new(1980e6), MemoryClockHertz: new(2619e6), Celsius: new(41.0), EnergyJoules: new(5e9),
		Reasons: []string{"software power limit", "hardware thermal slowdown"}}
	for _, row := range []struct {
		name, stub string
		change     func(*Reading)
		err        string
	}{
		{"everything, in base units", "", func(*Reading) {}, ""},
		{"a process that the driver does not list", "pid not visible", func(r *Reading) { r.ProcessUsedBytes = nil }, ""},
		{"a process whose size is not told", "size not told", func(r *Reading) { r.ProcessUsedBytes = nil }, ""},
		{"a card without a counter of energy", "no counter", func(r *Reading) { r.EnergyJoules = nil }, ""},
		{"a fault, and what can be read", "lost", func(r *Reading) { r.PowerWatts = nil }, "nvmlDeviceGetPowerUsage: GPU is lost"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("NVML_STUB", row.stub)
			want := all
			row.change(&want)
			got, err := c.Read(os.Getpid())
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if text := errorText(err); text != row.err {
				t.Errorf("error: got %q, want %q", text, row.err)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestOpenSaysWhyThereIsNoNVML(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain.so")
	if err := os.WriteFile(plain, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, path, want string }{
		{"a library that is not there", "libno-such-nvml.so.1",
			"no NVIDIA driver was found: libno-such-nvml.so.1: cannot open shared object file"},
		{"a file that is no library", plain, "no NVIDIA driver was found: " + plain},
		{"another library", "libc.so.6", `libc.so.6 is not a usable NVML library: symbol "nvmlInit_v2" not found`},
	} {
		if _, err := openAt(row.path); err == nil || !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
}
