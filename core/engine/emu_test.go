package engine_test

import (
	"fmt"
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
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	emulated.once.Do(func() {
		var out []byte
		if out, emulated.err = exec.Command("make", "--silent", "--directory", root, "emu").CombinedOutput(); emulated.err != nil {
			emulated.err = fmt.Errorf("make emu: %w: %s", emulated.err, out)
		}
	})
	if emulated.err != nil {
		t.Fatal(emulated.err)
	}
	engine.SearchIn(filepath.Join(root, "build"))
	d, err := engine.Open("emu", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}
