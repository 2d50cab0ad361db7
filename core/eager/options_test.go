package eager_test

import (
	"strings"
	"testing"

	"github.com/localbench/localbench/core/eager"
)

func TestParseOptions(t *testing.T) {
	for text, want := range map[string]eager.Options{
		"":                                      {},
		"set_to_none=true,foreach=true":         {},
		"reentrant=false,zero_grad=end":         {},
		"set_to_none=false":                     {KeepGradients: true},
		"foreach=false, reentrant=true,":        {OneByOne: true, Reentrant: true},
		"fused=true":                            {Fused: true},
		"zero_grad=mid,images=2,reentrant=true": {ZeroMid: true, Images: 2, Reentrant: true},
	} {
		got, err := eager.ParseOptions(text)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
		again, err := eager.ParseOptions(got.String())
		if err != nil || again != want {
			t.Errorf("%q: its text form %q reads as %+v, %v", text, got, again, err)
		}
	}
	if text := (eager.Options{}).String(); text != "" {
		t.Errorf("got %q for the defaults, want nothing", text)
	}
	for text, want := range map[string]string{
		"foreech=false":              `did you mean "foreach"?`,
		"foreach":                    `"foreach" has no value`,
		"foreach=0":                  "foreach=0: must be one of true, false",
		"zero_grad=never":            "must be one of start, mid, end",
		"foreach=true,fused=true":    "foreach and fused=true can't be combined",
		"images=1,images=2":          "images is given twice",
		"set_to_none=false,=":        `unknown option ""`,
		"optimizer=adam,foreach=yes": `unknown option "optimizer"`,
	} {
		if _, err := eager.ParseOptions(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want %q in it", text, err, want)
		}
	}
}

// TestBLASWorkspace counts 2 handles: of 2 x 4 MiB and 8 x 16 KiB, or of 32 MiB (CublasHandlePool.cpp).
func TestBLASWorkspace(t *testing.T) {
	const small, large = 17_039_360, 67_108_864
	for gpu, want := range map[string]int64{
		"a100": small, "NVIDIA A100-SXM4-80GB": small, "NVIDIA GeForce RTX 4090": small, "rtx a6000": small,
		"Tesla V100-SXM2-16GB": small,
		"h100":                 large, "NVIDIA H100 80GB HBM3": large,
		"H200": large, "NVIDIA B200": large, "NVIDIA GeForce RTX 5090": large,
		"": 0, "mi300": 0, "a1": 0, "h100x": 0,
	} {
		if got, ok := eager.BLASWorkspace(gpu); got != want || ok != (want > 0) {
			t.Errorf("%q: got %d bytes, known %t, want %d", gpu, got, ok, want)
		}
	}
}
