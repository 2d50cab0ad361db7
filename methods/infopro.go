package methods

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
)

// Mode is InfoPro's classification loss.
type Mode string

// The modes of the paper.
const (
	ModeSoftmax  Mode = "softmax"  // cross-entropy of a small classifier
	ModeContrast Mode = "contrast" // supervised contrastive loss of 128 features
)

// Head is the form of InfoPro's classification loss for small images, named as in its program:
// 1c2f has one 3x3 convolution followed by two linear layers.
type Head string

// The heads of published runs. The last linear layer of a head returns the features of the contrastive loss, or the logits.
const (
	Head1c1f Head = "1c1f" // of the contrastive loss in records without a head
	Head1c2f Head = "1c2f" // InfoPro
	Head2c2f Head = "2c2f" // MAN's program
)

// layers returns the convolutions and linear layers of a head.
func (h Head) layers() (convolutions, linears int, err error) {
	switch h {
	case Head1c1f:
		return 1, 1, nil
	case Head1c2f:
		return 1, 2, nil
	case Head2c2f:
		return 2, 2, nil
	}
	return 0, 0, fmt.Errorf("infopro-head %q: must be %s, %s or %s", h, Head1c1f, Head1c2f, Head2c2f)
}

// Constants of InfoPro's auxiliary networks.
const (
	infoProWidth       = 128 // features of the classification loss
	infoProDecoder     = 12  // channels of the decoder
	infoProTemperature = 0.07
)

// Coefficients are the weights of InfoPro's reconstruction (A) and classification (B) losses, interpolated
// linearly from the first module (A1, B1) to the last one with an auxiliary network (A2, B2).
type Coefficients struct{ A1, B1, A2, B2 float64 }

// Preset is a published set of coefficients.
type Preset struct {
	Dataset, Network string
	Mode             Mode
	Modules          int
	Coefficients
	Balanced bool // of memory-balanced cuts (InfoPro*)
}

// Name is the preset's name on the command line: "cifar10-resnet110-contrast-4", or "cifar10-resnet110-contrast-4-balanced".
func (p Preset) Name() string {
	name := fmt.Sprintf("%s-%s-%s-%d", p.Dataset, p.Network, p.Mode, p.Modules)
	if p.Balanced {
		name += "-" + CutsBalanced
	}
	return name
}

// Presets lists InfoPro's published coefficients.
func Presets() []Preset {
	return []Preset{
		{"cifar10", "resnet32", ModeSoftmax, 16, Coefficients{5, 0.05, 0.2, 0.5}, false},
		{"cifar10", "resnet110", ModeSoftmax, 55, Coefficients{5, 0, 0.5, 1}, false},
		{"cifar10", "resnet110", ModeContrast, 2, Coefficients{5, 0.5, 0, 0}, false},
		{"cifar10", "resnet110", ModeContrast, 4, Coefficients{1, 0, 0, 1}, false},
		{"cifar10", "resnet110", ModeContrast, 8, Coefficients{5, 0, 0, 1}, false},
		{"cifar10", "resnet110", ModeContrast, 16, Coefficients{5, 0, 0.5, 1}, false},
		{"cifar10", "resnet32", ModeContrast, 2, Coefficients{5, 1, 0, 0}, false},
		{"cifar10", "resnet32", ModeContrast, 4, Coefficients{6, 0, 1, 2}, false},
		{"cifar10", "resnet32", ModeContrast, 8, Coefficients{5, 0, 0, 2}, false},
		{"cifar10", "resnet32", ModeContrast, 16, Coefficients{5, 0.05, 0.2, 0.5}, false},
		{"stl10", "resnet110", ModeContrast, 2, Coefficients{10, 1, 0, 0}, false},
		{"stl10", "resnet110", ModeContrast, 4, Coefficients{20, 0.2, 5, 2}, false},
		{"stl10", "resnet110", ModeContrast, 8, Coefficients{20, 0.2, 5, 1}, false},
		{"stl10", "resnet110", ModeContrast, 16, Coefficients{20, 0.5, 10, 0.1}, false},
		{"svhn", "resnet110", ModeContrast, 2, Coefficients{1, 0.1, 0, 0}, false},
		{"svhn", "resnet110", ModeContrast, 4, Coefficients{5, 0, 0.5, 1}, false},
		{"svhn", "resnet110", ModeContrast, 8, Coefficients{5, 0, 0.5, 2}, false},
		{"svhn", "resnet110", ModeContrast, 16, Coefficients{5, 0.2, 0.5, 1}, false},
		{"cifar10", "resnet110", ModeContrast, 2, Coefficients{5, 0.1, 0, 0}, true},
		{"cifar10", "resnet110", ModeContrast, 3, Coefficients{5, 0, 5, 0.1}, true},
		{"cifar10", "resnet110", ModeContrast, 4, Coefficients{5, 0, 5, 0.1}, true},
		{"stl10", "resnet110", ModeContrast, 2, Coefficients{20, 1, 0, 0}, true},
		{"stl10", "resnet110", ModeContrast, 3, Coefficients{20, 0.5, 5, 2}, true},
		{"stl10", "resnet110", ModeContrast, 4, Coefficients{20, 0.5, 10, 1}, true},
		{"imagenet", "resnet101", ModeSoftmax, 2, Coefficients{5, 0.75, 0, 0}, true},
		{"imagenet", "resnet152", ModeSoftmax, 2, Coefficients{5, 1, 0, 0}, true},
	}
}

// infoPro is information propagation (Wang, Ni, Song, Yang, Huang, ICLR 2021): a
// module is trained to keep the information that reconstructs the image and that separates the classes.
func infoPro(n *model.Network, o Options) ([]model.Stage, error) {
	ends, err := o.moduleEnds(n)
	if err != nil {
		return nil, fmt.Errorf("infopro: %w", err)
	}
	losses, err := o.infoProLosses(n, len(ends)+1)
	if err != nil {
		return nil, fmt.Errorf("infopro: %w", err)
	}
	ratio := linearRatio(len(ends))
	return localStages(n, ends, func(b *graph.Builder, m int, x *graph.Value, batch model.Batch) []model.Term {
		return losses.terms(b, ratio(m), n.Units[ends[m]], x, batch)
	}), nil
}

// linearRatio increases linearly from 0 at the first of count auxiliary networks to 1 at the last.
func linearRatio(count int) func(m int) float64 {
	return func(m int) float64 { return float64(m) / float64(max(count-1, 1)) }
}

// infoProLosses writes InfoPro's two loss terms.
type infoProLosses struct {
	network *model.Network
	mode    Mode
	Coefficients
	convolutions, linears int // of the head for small images
	widest                int64
	// decode and features are for large images: the reconstruction loss, and the features to classify.
	decode   func(b *graph.Builder, x, images *graph.Value) *graph.Value
	features func(b *graph.Builder, x *graph.Value, side int64) *graph.Value
}

// infoProLosses reads the options for a network cut into k modules.
func (o Options) infoProLosses(n *model.Network, k int) (l infoProLosses, err error) {
	l = infoProLosses{network: n, mode: Mode(cmp.Or(o.Mode, ModeSoftmax)), widest: n.Units[len(n.Units)-1].Width,
		decode: infoProDecodeLarge, features: infoProFeaturesLarge}
	if l.mode != ModeSoftmax && l.mode != ModeContrast {
		return l, fmt.Errorf("--infopro-mode %q: must be %s or %s", o.Mode, ModeSoftmax, ModeContrast)
	}
	if l.convolutions, l.linears, err = cmp.Or(o.Head, Head1c2f).layers(); err != nil {
		return l, err
	}
	name, err := o.CoefficientsName(n.PublishedName(), k)
	if err != nil {
		return l, err
	}
	l.Coefficients, err = parseCoefficients(name)
	return l, err
}

// terms writes the two losses on x, which has the width of unit u; ratio in [0, 1] interpolates between the first and
// the second pair of coefficients.
func (l infoProLosses) terms(b *graph.Builder, ratio float64, u model.Unit, x *graph.Value, batch model.Batch) []model.Term {
	between := func(first, second float64) float64 { return float64(first*(1-ratio)) + float64(second*ratio) }
	reconstruction := model.Term{Name: "reconstruction", Weight: between(l.A1, l.A2)}
	var classification model.Term
	if model.Small(l.network.Input) {
		reconstruction.Value = infoProDecode(b, x, batch.Images)
		classification = l.classify(b, l.pooled(b, x, u.Width >= l.widest), batch)
	} else {
		reconstruction.Value = l.decode(b, x, batch.Images)
		classification = l.classifyLarge(b, l.features(b, x, l.network.Input[0]), batch)
	}
	classification.Weight = between(l.B1, l.B2)
	return []model.Term{reconstruction, classification}
}

// CoefficientsName returns the source of InfoPro's coefficients for a network of that
// name cut into k modules: the user's choice, else the preset published for data set, network,
// mode and k. If there is no such preset, it is the nearest one of the same mode, preferring the
// same data set, then the same network, then the same kind of cuts, then the nearest k. The data set
// synthetic uses the presets of cifar10.
func (o Options) CoefficientsName(network string, k int) (string, error) {
	if o.Coefficients != "" {
		_, err := parseCoefficients(o.Coefficients)
		return o.Coefficients, err
	}
	mode, dataset := o.Mode, o.Dataset
	if mode == "" {
		mode = ModeSoftmax
	}
	if dataset == "" || dataset == "synthetic" {
		dataset = "cifar10"
	}
	best, distance := "", math.Inf(1)
	for _, p := range Presets() {
		d := math.Abs(math.Log(float64(p.Modules) / float64(k)))
		if p.Mode != mode {
			continue
		}
		if p.Balanced != (o.Cuts == CutsBalanced) {
			d += 5
		}
		if p.Network != network {
			d += 10
		}
		if p.Dataset != dataset {
			d += 100
		}
		if d < distance {
			best, distance = p.Name(), d
		}
	}
	return best, nil
}

// parseCoefficients reads a preset's name or "a1,b1,a2,b2".
func parseCoefficients(text string) (Coefficients, error) {
	var names []string
	for _, p := range Presets() {
		if p.Name() == text {
			return p.Coefficients, nil
		}
		names = append(names, p.Name())
	}
	var x [4]float64
	parts := strings.Split(text, ",")
	ok := len(parts) == len(x)
	for i := range x {
		if ok {
			var err error
			x[i], err = strconv.ParseFloat(strings.TrimSpace(parts[i]), 64)
			ok = err == nil && x[i] >= 0 && !math.IsInf(x[i], 0)
		}
	}
	if !ok {
		return Coefficients{}, fmt.Errorf("--infopro-coefficients %q: must be four numbers a1,b1,a2,b2, each at least 0, or one of %s",
			text, strings.Join(names, ", "))
	}
	return Coefficients{x[0], x[1], x[2], x[3]}, nil
}

// infoProDecode reconstructs the images from x: up-sampling to their size, two
// 3x3 convolutions, sigmoid and binary cross-entropy.
func infoProDecode(b *graph.Builder, x, images *graph.Value) *graph.Value {
	if b.Err() != nil {
		return x
	}
	x = enlarge(b, x, images.Shape[1], images.Shape[2])
	x = b.ReLU(model.Norm(b, "dec_bn", model.ConvWithBias(b, "dec1", x, infoProDecoder, 3, 1)))
	return b.BinaryCrossEntropy(model.ConvWithBias(b, "dec2", x, images.Shape[3], 3, 1), images)
}

// infoProDecodeLarge is the decoder of the paper's program for ImageNet, which reads maps of 28x28: a 1x1
// convolution to 128 channels, then three times up-sampling, to a quarter, a half and the whole of the
// image's sides, each followed by a 3x3 convolution, to 32, 12 and 3 channels. A map that is larger is not up-sampled.
func infoProDecodeLarge(b *graph.Builder, x, images *graph.Value) *graph.Value {
	if b.Err() != nil {
		return x
	}
	x = b.ReLU(model.Norm(b, "dec_bn1", model.ConvWithBias(b, "dec1", x, 128, 1, 1)))
	for i, width := range []int64{32, infoProDecoder} {
		part := int64(4) >> i
		x = model.ConvWithBias(b, fmt.Sprintf("dec%d", i+2), enlarge(b, x, images.Shape[1]/part, images.Shape[2]/part), width, 3, 1)
		x = b.ReLU(model.Norm(b, fmt.Sprintf("dec_bn%d", i+2), x))
		if b.Err() != nil {
			return x
		}
	}
	x = enlarge(b, x, images.Shape[1], images.Shape[2])
	return b.BinaryCrossEntropy(model.ConvWithBias(b, "dec4", x, images.Shape[3], 3, 1), images)
}

// enlarge up-samples x to a height and width if it is smaller. The published programs also up-sample a map of that size.
func enlarge(b *graph.Builder, x *graph.Value, height, width int64) *graph.Value {
	same := x.Shape[1] == height && x.Shape[2] == width
	if x.Shape[1] >= height && x.Shape[2] >= width && !(same && b.KeepsIdentities()) {
		return x
	}
	return b.Upsample(x, height, width)
}

// pooled returns the features that the head for small images classifies: a 3x3 convolution to twice the width at half
// the side (same width and side for the widest units), in 2c2f a second one of stride 1, and a global average pool.
func (l infoProLosses) pooled(b *graph.Builder, x *graph.Value, widest bool) *graph.Value {
	width, stride := 2*model.Channels(x), int64(2)
	if widest {
		width, stride = model.Channels(x), 1
	}
	x = b.ReLU(model.Norm(b, "bn", model.Conv(b, "conv", x, width, 3, stride)))
	if l.convolutions == 2 {
		x = b.ReLU(model.Norm(b, "bn2", model.Conv(b, "conv2", x, width, 3, 1)))
	}
	return b.AdaptiveAveragePool(x, 1, 1)
}

// classify is the classification term of the head for small images on pooled features: linear layers with
// ReLUs between them; all but the one for the logits have 128 features.
func (l infoProLosses) classify(b *graph.Builder, x *graph.Value, batch model.Batch) model.Term {
	out := int64(infoProWidth)
	for i := 1; i <= l.linears; i++ {
		if i > 1 {
			x = b.ReLU(x)
		}
		if i == l.linears && l.mode == ModeSoftmax {
			out = l.network.Classes
		}
		x = model.Linear(b, fmt.Sprint("fc", i), x, out)
	}
	return l.classificationTerm(b, x, batch)
}

// classifyLarge is the classification term of the head for large images on pooled features: one linear layer.
func (l infoProLosses) classifyLarge(b *graph.Builder, x *graph.Value, batch model.Batch) model.Term {
	if l.mode == ModeContrast {
		return l.classificationTerm(b, model.Linear(b, "fc1", x, infoProWidth), batch)
	}
	return l.classificationTerm(b, model.Linear(b, "fc", x, l.network.Classes), batch)
}

// classificationTerm is the loss of the mode on features or logits.
func (l infoProLosses) classificationTerm(b *graph.Builder, x *graph.Value, batch model.Batch) model.Term {
	if b.Err() != nil {
		return model.Term{Value: x}
	}
	if l.mode == ModeContrast {
		loss, _ := b.Contrast(x, batch.Labels, infoProTemperature)
		return model.Term{Name: "classification", Value: loss}
	}
	return model.CrossEntropy(b, x, batch)
}

// infoProFeaturesLarge are those of the paper's program for ImageNet, which reads maps of 28x28: a 1x1
// convolution to 128 channels, 3x3 ones of stride 2 to 256 and 512, a 1x1 one to 2048, pooled. Maps are not made
// smaller than a 32nd of the image's side.
func infoProFeaturesLarge(b *graph.Builder, x *graph.Value, side int64) *graph.Value {
	for i, c := range []struct{ width, kernel int64 }{{128, 1}, {256, 3}, {512, 3}, {2048, 1}} {
		if b.Err() != nil {
			return x
		}
		stride := int64(1)
		if c.kernel == 3 && x.Shape[1] > side/32 {
			stride = 2
		}
		x = b.ReLU(model.Norm(b, fmt.Sprintf("bn%d", i+1), model.Conv(b, fmt.Sprintf("conv%d", i+1), x, c.width, c.kernel, stride)))
	}
	return b.AdaptiveAveragePool(x, 1, 1)
}
