package suite

import (
	"path/filepath"
	"testing"
)

// Exported networks of torchvision plan under every method, also where the auxiliary networks of AugLocal are made of units with
// activations, layer normalisations and squeeze-and-excitation.
func TestExportedNetworksPlanUnderEveryMethod(t *testing.T) {
	names := []string{"mobilenet_v3_small_64", "convnext_tiny_64"}
	methods := []string{"bp", "checkpoint", "dgl", "predsim", "infopro", "man", "auglocal"}
	if !testing.Short() {
		names = append(names, "mobilenet_v3_large_64", "mnasnet1_0_64", "efficientnet_b0_64", "efficientnet_v2_s_64",
			"resnext50_32x4d_64", "resnet50_64", "wide_resnet50_2_64", "vgg16_64", "vgg16_bn_64")
	}
	for _, name := range names {
		for _, method := range methods {
			t.Run(name+" "+method, func(t *testing.T) {
				p := planOn(t, Request{Methods: []string{method}, Datasets: []string{"synthetic"}, ImageSize: 64, Batches: []int64{4},
					Networks: []string{filepath.Join("networks", "exported", "testdata", name+".pt2")}})
				if len(p.Allocations) == 0 || len(p.Kinds) == 0 {
					t.Errorf("the plan has %d ops and %d allocations", len(p.Kinds), len(p.Allocations))
				}
			})
		}
	}
}
