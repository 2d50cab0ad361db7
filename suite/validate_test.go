package suite

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/localbench/localbench/core/eager"
	"github.com/localbench/localbench/results/peaks"
)

// TestValidatorLikePyTorch compares the program that `validate` predicts with what PyTorch's autograd and optimizers allocate in
// the same loops, on device meta and without workspaces (testdata/make_validation_peaks.py). It needs the exported networks,
// which are beside the repository, or in $LOCALBENCH_SHARED.
func TestValidatorLikePyTorch(t *testing.T) {
	folder := os.Getenv("LOCALBENCH_SHARED")
	if folder == "" {
		folder = filepath.Join("..", "..", "shared")
	}
	v := Validator{Folder: filepath.Join(folder, "validation", "networks")}
	if _, err := os.Stat(v.Folder); err != nil {
		t.Skipf("the predictions are not compared with PyTorch's: %v", err)
	}
	f, err := os.Open("testdata/validation_peaks.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	reader := csv.NewReader(f)
	reader.Comment = '#'
	rows, err := reader.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	number := func(text string) int64 {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, row := range rows[1:] {
		r := peaks.Row{Network: row[0], Optimizer: row[2], Batch: number(row[3]), Side: 86, Channels: 3, Classes: number(row[1]),
			ZeroGrad: row[4]}
		g, err := v.program(r)
		if err != nil {
			t.Fatal(err)
		}
		p := eager.Predict(g, eager.Options{NewBatch: true, ZeroMid: r.ZeroGrad == peaks.ZeroGradMiddle})
		percent := func(got int64, want string) float64 { return 100 * (float64(got)/float64(number(want)) - 1) }
		allocated, reserved := percent(p.AllocatedBytes, row[5]), percent(p.ReservedBytes, row[6])
		t.Logf("%v: allocated %+.2f %%, reserved %+.2f %%", row[:5], allocated, reserved)
		if max(allocated, -allocated) > 0.3 || max(reserved, -reserved) > 0.5 {
			t.Errorf("%v: allocated %+.2f %%, reserved %+.2f %%, want within 0.3 and 0.5 %%", row[:5], allocated, reserved)
		}
	}
}

// TestValidatorFile: names are found whatever their capitals and underscores, and also if one file has digits after the name.
func TestValidatorFile(t *testing.T) {
	v := Validator{Folder: t.TempDir()}
	for _, name := range []string{"mnasnet1_0_86.pt2", "regnet_x_400mf_86.pt2", "vgg1_86.pt2", "vgg16_86.pt2", "net1_86.pt2",
		"net2_86.pt2", "convnext_tiny_86.pt2", "convnext_tiny_32.pt2"} {
		if err := os.WriteFile(filepath.Join(v.Folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ network, want string }{
		{"MnasNet", "mnasnet1_0_86.pt2"}, {"RegNetX400MF", "regnet_x_400mf_86.pt2"}, {"VGG1", "vgg1_86.pt2"},
		{"ConvNeXtTiny", "convnext_tiny_86.pt2"}, {"ConvNeXt", ""}, {"net", ""}, {"RegNetX", ""}, {"unknown", ""},
	} {
		path, err := v.file(peaks.Row{Network: c.network, Side: 86})
		if (err == nil) != (c.want != "") || err == nil && filepath.Base(path) != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.network, path, err, c.want)
		}
	}
}
