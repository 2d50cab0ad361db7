#!/usr/bin/env python3
"""Writes what torchvision says of the networks, `torchvision.json`, beside this script.

    python3 suite/networks/testdata/make_golden.py

One JSON object:

    command, torch, torchvision   where the file is from
    networks     per network, at 1000 classes: the number of parameters; of some, all tensors in torchvision's
                 order, as name and shape, but for the counters num_batches_tracked
    logits       per network: side of the images, classes, and the logits of two images in
                 inference and in training mode, in double precision, with weights and images from `formula`;
                 of small images also the sums of the absolute gradients of the cross-entropy in training mode
                 with labels 0 and 1, by parameter, in the order of their names

Needs Python 3.11, PyTorch and torchvision. Dropout and stochastic depth are switched off. Networks for
images of less than 128 pixels are torchvision's with other strides or another head: see `torchvision_networks.py`.
"""

import json
import re
from pathlib import Path

import torch
import torchvision
from torch import nn

from torchvision_networks import make, make_small

NETWORKS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "vgg11", "vgg13", "vgg16", "vgg19",
            "mobilenetv2", "efficientnetb0", "regnetx400mf"]
NAMED = ["resnet18", "resnet50", "vgg13", "mobilenetv2", "efficientnetb0", "regnetx400mf"]
LOGITS = [("resnet18", 128, 5), ("resnet50", 130, 5), ("vgg11", 128, 3), ("resnet50", 32, 5), ("vgg13", 32, 5),
          ("mobilenetv2", 128, 5), ("mobilenetv2", 32, 5), ("efficientnetb0", 128, 5), ("efficientnetb0", 32, 5), ("regnetx400mf", 130, 5), ("regnetx400mf", 32, 5)]


def formula(count: int, salt: int) -> torch.Tensor:
    """Numbers in [-1, 1) that any program can make: hash(i, salt) by 2^31, less 1."""
    x = (torch.arange(count, dtype=torch.int64) + salt * 7919) % 2**32
    for _ in range(2):
        x = (x ^ (x >> 16)) * 0x045D9F3B % 2**32
    x = x ^ (x >> 16)
    return x.double() / 2.0**31 - 1


@torch.no_grad()
def fill(net: nn.Module) -> None:
    """Weights by name: of convolutions and linear layers uniform with the variance 2 / fan-in, scales
    of normalisations and running variances around 1, all else around 0."""
    for name, value in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        salt = sum((at + 1) * byte for at, byte in enumerate(name.encode()))
        x = formula(value.numel(), salt).reshape(value.shape)
        if value.dim() > 1:
            x = x * (6 / value[0].numel()) ** 0.5
        elif name.endswith((".weight", ".running_var")):
            x = 1 + x / 4
        else:
            x = x / 8
        value.copy_(x)


def logits(name: str, side: int, classes: int) -> dict:
    net = (make if side >= 128 else make_small)(name, classes)
    return logits_of(net, name, side, classes, side < 128)


def logits_of(net: nn.Module, name: str, side: int, classes: int, gradients: bool) -> dict:
    net = net.double()
    for m in net.modules():
        if isinstance(m, (nn.Dropout, torchvision.ops.StochasticDepth)):
            m.p = 0.0
    fill(net)
    images = ((formula(2 * side * side * 3, 7) + 1) * 128).floor().reshape(2, side, side, 3)
    x = ((images - 120) / 60).permute(0, 3, 1, 2).contiguous()
    inference = net.eval()(x).detach()
    training = net.train()(x)
    out = {"network": name, "side": side, "classes": classes,
           "inference": inference.flatten().tolist(), "training": training.flatten().tolist()}
    if gradients:
        nn.functional.cross_entropy(training, torch.tensor([0, 1])).backward()
        out["gradients"] = [p.grad.abs().sum().item() for _, p in sorted(net.named_parameters())]
    return out


def main() -> None:
    out = {"command": "python3 suite/networks/testdata/make_golden.py", "torch": torch.__version__,
           "torchvision": torchvision.__version__, "networks": [], "logits": [logits(*c) for c in LOGITS]}
    for name in NETWORKS:
        net = make(name, 1000)
        entry = {"name": name, "parameters": sum(p.numel() for p in net.parameters())}
        if name in NAMED:
            entry["tensors"] = [f"{n} {'x'.join(map(str, v.shape))}" for n, v in net.state_dict().items()
                                if not n.endswith("num_batches_tracked")]
        out["networks"].append(entry)
    write(Path(__file__).with_name("torchvision.json"), out)


def write(path: Path, out: dict) -> None:
    text = re.sub(r"\[\s+(?:-?\d[^\[\]\"]*?)\]", lambda m: re.sub(r"\s+", " ", m.group()), json.dumps(out, indent=1))
    path.write_text(text + "\n")


if __name__ == "__main__":
    main()
