// Package networks is the registry of architectures: one file per family, one entry per
// network. A network is data (model.Network): units that write their own
// forward ops. Shapes follow the data set's images.
//
// Networks for ImageNet take images of any size. Those whose shorter side is less than
// 128 pixels, such as CIFAR-10's 32 and STL-10's 96, would reach the last stage with
// hardly any resolution left: for them the networks omit the first two halvings of
// the sides and VGG has a different head, as is common practice.
package networks

import (
	"fmt"

	"github.com/localbench/localbench/core/graph"
	"github.com/localbench/localbench/core/model"
	"github.com/localbench/localbench/names"
	"github.com/localbench/localbench/suite/networks/exported"
)

// Entry is one network, found by its name.
type Entry struct {
	Name  string
	About string // one line for lists
	Small bool   // made for images of CIFAR's size, and for nothing else
	// New builds it for images of the shape [H W C] and a number of classes.
	New func(name string, image graph.Shape, classes int64) *model.Network
}

// List returns the networks in table order.
func List() []Entry {
	return []Entry{
		{"resnet20", "CIFAR ResNet, 10 units, 3 basic blocks a stage", true, cifarResNet(3)},
		{"resnet32", "CIFAR ResNet, 16 units, 5 basic blocks a stage", true, cifarResNet(5)},
		{"resnet56", "CIFAR ResNet, 28 units, 9 basic blocks a stage", true, cifarResNet(9)},
		{"resnet110", "CIFAR ResNet, 55 units, 18 basic blocks a stage", true, cifarResNet(18)},
		{"resnet18", "ResNet, 9 units, basic blocks of 64 to 512 channels", false, resNet(basicBlock, 2, 2, 2, 2)},
		{"resnet34", "ResNet, 17 units, basic blocks of 64 to 512 channels", false, resNet(basicBlock, 3, 4, 6, 3)},
		{"resnet50", "ResNet, 17 units, bottlenecks of 256 to 2048 channels", false, resNet(bottleneck, 3, 4, 6, 3)},
		{"resnet101", "ResNet, 34 units, bottlenecks of 256 to 2048 channels", false, resNet(bottleneck, 3, 4, 23, 3)},
		{"resnet152", "ResNet, 51 units, bottlenecks of 256 to 2048 channels", false, resNet(bottleneck, 3, 8, 36, 3)},
		{"vgg11", "VGG with batch normalisation, 8 units", false, vgg(1, 1, 2, 2, 2)},
		{"vgg13", "VGG with batch normalisation, 10 units", false, vgg(2, 2, 2, 2, 2)},
		{"vgg16", "VGG with batch normalisation, 13 units", false, vgg(2, 2, 3, 3, 3)},
		{"vgg19", "VGG with batch normalisation, 16 units", false, vgg(2, 2, 4, 4, 4)},
		{"mobilenetv2", "MobileNetV2, 19 units, inverted residuals with depthwise convolutions", false, mobileNet},
		{"efficientnetb0", "EfficientNet-B0, 17 units, inverted residuals with squeeze-and-excitation", false, efficientNet},
		{"regnetx400mf", "RegNetX-400MF, 23 units, bottlenecks with grouped convolutions", false, regNet},
	}
}

// narrowStart initialises the heads of several networks: normal(0, 0.01).
func narrowStart() graph.Weight { return graph.Weight{Init: graph.InitNormal, Scale: 0.01} }

// narrowDropout is the dropout rate before the last layer of the networks with inverted residuals.
const narrowDropout = 0.2

// small reports whether networks for ImageNet use their variant for small images.
func small(image graph.Shape) bool { return model.Small(image) }

// New builds the network of that name, or the one in the file of that path if the name ends in .pt2. The error of an
// unknown name lists the known ones.
func New(name string, image graph.Shape, classes int64) (*model.Network, error) {
	if len(image) != 3 {
		return nil, fmt.Errorf("network: image shape %s must have a height, a width and channels", image)
	}
	if exported.Is(name) {
		return exported.New(name, image, classes, builtIn(image, classes)...)
	}
	entry, err := names.Find("network", name, List(), func(e Entry) string { return e.Name })
	if err != nil {
		return nil, err
	}
	return entry.New(name, image, classes), nil
}

// builtIn are all networks of the list, for images of that shape and a number of classes.
func builtIn(image graph.Shape, classes int64) (all []*model.Network) {
	for _, e := range List() {
		all = append(all, e.New(e.Name, image, classes))
	}
	return all
}

// IsExported says whether a name is the path of a file of torch.export.
func IsExported(name string) bool { return exported.Is(name) }

// Images returns the shape [C H W] of the images and the number of classes that a network was exported with.
func Images(name string) (image graph.Shape, classes int64, err error) { return exported.Images(name) }

// Digest tells apart the files that networks of one name were read from; it is empty for a built-in network.
func Digest(name string) (string, error) {
	if !exported.Is(name) {
		return "", nil
	}
	return exported.Digest(name)
}

// CheckDigest says that the file of a network is not the one with the digest.
func CheckDigest(name, digest string) error {
	now, err := Digest(name)
	if err == nil && now != digest {
		err = fmt.Errorf("network %s: the file holds another network than the run was set up with (digest %s, not %s)",
			name, now, digest)
	}
	return err
}
