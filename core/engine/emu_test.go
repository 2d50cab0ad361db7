package engine_test

import (
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/localbench/localbench/core/engine"
)

var emulated struct {
	once sync.Once
	err  error
}

// openEmulated builds, if that is not done, and opens the CUDA backend's code on the host.
func openEmulated(t testing.TB, o engine.Options) engine.Device {
	t.Helper()
	emulated.once.Do(func() {
		root, err := filepath.Abs("../..")
		if err == nil {
			cmd := exec.Command("make", "--silent", "--directory", root, "emu")
			var out []byte
			if out, err = cmd.CombinedOutput(); err != nil {
				t.Logf("%s", out)
			}
			engine.SearchIn(filepath.Join(root, "build"))
		}
		emulated.err = err
	})
	if emulated.err != nil {
		t.Fatalf("make emu: %v", emulated.err)
	}
	d, err := engine.Open("emu", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}
