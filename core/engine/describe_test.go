package engine

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDescription(t *testing.T) {
	got := parseDescription("device=H100\ncuDNN=9.19\nuuid=GPU-1\nfree=77\nproperties={\"a\": \"b=c\"}\n" +
		"setup_memory.context=400\nsetup_memory.arena=900\n")
	want := description{
		facts:      map[string]string{"device": "H100", "cuDNN": "9.19"},
		uuid:       "GPU-1",
		freeBytes:  77,
		properties: `{"a": "b=c"}`,
		stages:     []StageMemory{{StageContext, 400}, {StageArena, 900}},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(description{})); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestNamesSharedWithC checks that the strings which Go recognises are those that the CUDA backend writes.
func TestNamesSharedWithC(t *testing.T) {
	for file, names := range map[string][]string{
		"cuda/library.cc": {`name = "` + estimatedKernel + `"`},
		"cuda/device.cc":  {`"setup_memory."`, `"uuid="`, `\nfree="`, `\nproperties="`},
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if !strings.Contains(string(text), name) {
				t.Errorf("%s does not contain %s", file, name)
			}
		}
	}
}
