"""torchvision's networks by our names. Needs Python 3.11, PyTorch and torchvision."""

import torchvision
from torch import nn

TORCHVISION = {"efficientnetb0": "efficientnet_b0", "mobilenetv2": "mobilenet_v2", "regnetx400mf": "regnet_x_400mf"}


def make(name: str, classes: int) -> nn.Module:
    factory = getattr(torchvision.models, name + "_bn" if name.startswith("vgg") else TORCHVISION.get(name, name))
    return factory(num_classes=classes, weights=None)


def make_small(name: str, classes: int) -> nn.Module:
    """The usual forms for CIFAR, without the first two halvings of the sides; VGG with a head of one linear layer."""
    net = make(name, classes)
    if name.startswith("vgg"):
        net.avgpool = nn.AdaptiveAvgPool2d(1)
        net.classifier = nn.Linear(512, classes)
    elif name == "mobilenetv2":
        net.features[0][0].stride = net.features[2].conv[1][0].stride = (1, 1)
    elif name == "efficientnetb0":
        net.features[0][0].stride = net.features[2][0].block[1][0].stride = (1, 1)
    elif name == "regnetx400mf":
        block = net.trunk_output.block1[0]
        net.stem[0].stride = block.f.b[0].stride = (1, 1)
        block.proj = None  # there is one only where shapes differ
    else:
        net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        net.maxpool = nn.Identity()
    return net
