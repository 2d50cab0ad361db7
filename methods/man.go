package methods

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// manMomentum is the momentum of the moving average in the paper's runs.
const manMomentum = 0.995

// stemPlace is the place of a stem.
const stemPlace = "0.0"

// manCuts are the cuts of the published program that differ from InfoPro's, in the notation of publishedCuts.
var manCuts = map[string][]string{
	"resnet110": {"1.1 1.2 1.4 1.5 1.7 1.9 1.11 1.13 1.14 1.16 1.17 2.1 2.2 2.4 2.5 2.7 2.9 2.11 2.13 2.14 2.16 2.17 " +
		"3.1 3.3 3.4 3.6 3.7 3.9 3.11 3.13 3.15"},
	"resnet34":  {"2.0 3.0 3.5"},
	"resnet101": {"3.0 3.9 3.17"},
	"resnet152": {"3.0 3.9 3.17"},
}

// man is the Momentum Auxiliary Network (Su et al., ECCV 2024): a module's output
// is the input of two units shaped like the first unit of the next module, whose outputs are added. One
// is the moving average of that unit: gradients flow through it but do not train it. The
// other, the learnable bias, is trained. InfoPro's two losses are computed on the sum, with InfoPro's head,
// coefficients and cuts.
//
// The published program differs from that (Options.Program). For small images it has InfoPro's larger head 2c2f, the
// coefficients 5, 0.5, 0, 0 of its README, and goes from the first two to the last two by (stage of the next
// unit)/(K-2) instead of linearly by module; for large ones the weights are 5 and 0.75, and decoder and head are wider.
// Its stem belongs to the first module, so its K = 16 of ResNet-32 is 15 modules; some of its cuts differ.
func man(n *model.Network, o Options) ([]model.Stage, error) {
	k, err := o.modules(len(n.Units))
	if err != nil {
		return nil, fmt.Errorf("man: %w", err)
	}
	if p := o.places(); len(p) > 0 {
		k = len(p) + 1
	}
	ends, err := o.manEnds(n, k)
	if err != nil {
		return nil, fmt.Errorf("man: %w", err)
	}
	ratio := linearRatio(len(ends))
	if o.Program {
		o.Coefficients, o.Head = cmp.Or(o.Coefficients, ManCoefficients(n)), cmp.Or(o.Head, Head2c2f)
		if model.Small(n.Input) {
			if ratio, err = stageRatio(n, ends, k); err != nil {
				return nil, fmt.Errorf("man: %w", err)
			}
		}
	}
	losses, err := o.infoProLosses(n, len(ends)+1)
	if err != nil {
		return nil, fmt.Errorf("man: %w", err)
	}
	if o.Program {
		losses.decode, losses.features = manDecodeLarge, manFeaturesLarge
	}
	stages := localStages(n, ends, func(b *graph.Builder, m int, x *graph.Value, batch model.Batch) []model.Term {
		next := n.Units[ends[m]+1]
		var average, bias *graph.Value
		b.In("average", func() { b.Frozen(func() { average = next.Forward(b, x) }) })
		b.In("bias", func() { bias = next.Forward(b, x) })
		return losses.terms(b, ratio(m), next, b.Add(bias, average), batch)
	})
	for m := range ends {
		stages[m].AuxDepth = 1
		stages[m].Average = &model.Average{Scope: auxiliaryScope(m) + ".average", Momentum: manMomentum}
	}
	return stages, nil
}

// ManCoefficients are those of MAN's published program for a network.
func ManCoefficients(n *model.Network) string {
	if model.Small(n.Input) {
		return "5,0.5,0,0"
	}
	return "5,0.75,5,0.75"
}

// manEnds is moduleEnds, with the cuts of the published program if o.Program is set.
func (o Options) manEnds(n *model.Network, k int) ([]int, error) {
	if !o.Program || o.Cuts != "" && o.Cuts != CutsPublished {
		return o.moduleEnds(n)
	}
	if places := cutsFor(manCuts, n.PublishedName(), k); places != nil {
		return endsAtPublished(n, places)
	}
	if k == len(n.Units) && n.Units[0].PublishedPlace() == stemPlace {
		return firstEnds(1, k-1), nil
	}
	return o.moduleEnds(n)
}

// stageRatio is (stage of the unit after the module)/(K-2) for the K given to the program; 0 if K is 2.
func stageRatio(n *model.Network, ends []int, k int) (func(m int) float64, error) {
	ratios := make([]float64, len(ends))
	for m, end := range ends {
		place := n.Units[end+1].PublishedPlace()
		text, _, _ := strings.Cut(place, ".")
		stage, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("network %s: unit %d has the place %q, which must be stage.block", n.Name, end+1, place)
		}
		if k > 2 {
			ratios[m] = float64(stage) / float64(k-2)
		}
	}
	return func(m int) float64 { return ratios[m] }, nil
}

// manDecodeLarge is the decoder of MAN's program for ImageNet, which reads maps of 14x14: a 1x1 convolution to 192
// channels, then four times up-sampling, to an eighth, a quarter, a half and the whole of the image's sides, with a 1x1
// convolution to 64 channels and 3x3 ones to 32, 12 and 3. A map that is larger is not up-sampled.
func manDecodeLarge(b *graph.Builder, x, images *graph.Value) *graph.Value {
	if b.Err() != nil {
		return x
	}
	x = b.ReLU(model.Norm(b, "dec_bn1", model.ConvWithBias(b, "dec1", x, 192, 1, 1)))
	for i, c := range []struct{ width, kernel int64 }{{64, 1}, {32, 3}, {infoProDecoder, 3}} {
		part := int64(8) >> i
		x = enlarge(b, x, images.Shape[1]/part, images.Shape[2]/part)
		x = model.ConvWithBias(b, fmt.Sprintf("dec%d", i+2), x, c.width, c.kernel, 1)
		x = b.ReLU(model.Norm(b, fmt.Sprintf("dec_bn%d", i+2), x))
		if b.Err() != nil {
			return x
		}
	}
	x = enlarge(b, x, images.Shape[1], images.Shape[2])
	return b.BinaryCrossEntropy(model.ConvWithBias(b, "dec5", x, images.Shape[3], 3, 1), images)
}

// manFeaturesLarge returns the features that MAN's program for ImageNet classifies: a 1x1 convolution to 256 channels, 3x3 ones
// of stride 2 to 256 and 512, a 1x1 one to 2048, pooled.
func manFeaturesLarge(b *graph.Builder, x *graph.Value, _ int64) *graph.Value {
	for i, c := range []struct{ width, kernel, stride int64 }{{256, 1, 1}, {256, 3, 2}, {512, 3, 2}, {2048, 1, 1}} {
		x = model.Conv(b, fmt.Sprintf("conv%d", i+1), x, c.width, c.kernel, c.stride)
		x = b.ReLU(model.Norm(b, fmt.Sprintf("bn%d", i+1), x))
	}
	return b.AdaptiveAveragePool(x, 1, 1)
}
