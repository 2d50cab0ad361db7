#!/usr/bin/env python3
"""Writes `infopro_large.json` beside this script: InfoPro with its auxiliary network for ImageNet, in PyTorch.

    python3 methods/testdata/make_infopro_large.py

The network is small, its images of 128 pixels are large: two units, a 7x7 convolution of stride 8 to 8 channels and a 1x1
convolution, a head of global average pool and linear layer, 10 classes. Cut in two, with every loss term weighted by one, it is
trained for three steps on one batch in float64. `cases` has, per mode, the loss terms before each step, those of the auxiliary
network and that of the head, and per parameter the sum of absolute values at the end.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from localnets import InfoProAuxiliary, initialise, random_bytes
from torch import Tensor, nn

SIDE, BATCH, CLASSES, SEED, STEPS = 128, 4, 10, 1, 3
RATE, MOMENTUM, DECAY = 0.01, 0.9, 1e-4
LABELS = [3, 1, 3, 7]


class Large(nn.Module):
    def __init__(self, width: int, mode: str) -> None:
        super().__init__()
        self.dec1, self.dec_bn1 = nn.Conv2d(width, 128, 1), nn.BatchNorm2d(128)
        self.dec2, self.dec_bn2 = nn.Conv2d(128, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.dec3, self.dec_bn3 = nn.Conv2d(32, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.dec4 = nn.Conv2d(12, 3, 3, padding=1)
        self.conv1, self.bn1 = nn.Conv2d(width, 128, 1, bias=False), nn.BatchNorm2d(128)
        self.conv2, self.bn2 = nn.Conv2d(128, 256, 3, 2, padding=1, bias=False), nn.BatchNorm2d(256)
        self.conv3, self.bn3 = nn.Conv2d(256, 512, 3, 2, padding=1, bias=False), nn.BatchNorm2d(512)
        self.conv4, self.bn4 = nn.Conv2d(512, 2048, 1, bias=False), nn.BatchNorm2d(2048)
        self.fc = nn.Linear(2048, CLASSES) if mode == "softmax" else None
        self.fc1 = nn.Linear(2048, 128) if mode == "contrast" else None

    def reconstruction(self, x: Tensor, images: Tensor) -> Tensor:
        def up(x: Tensor, part: int) -> Tensor:
            return F.interpolate(x, size=(SIDE // part, SIDE // part), mode="bilinear", align_corners=True)

        x = F.relu(self.dec_bn1(self.dec1(x)))
        x = F.relu(self.dec_bn2(self.dec2(up(x, 4))))
        x = F.relu(self.dec_bn3(self.dec3(up(x, 2))))
        return F.binary_cross_entropy(torch.sigmoid(self.dec4(up(x, 1))), images)

    def classification(self, x: Tensor, labels: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(x)))
        x = F.relu(self.bn4(self.conv4(x))).mean((2, 3))
        if self.fc is not None:
            return F.cross_entropy(self.fc(x), labels)
        return InfoProAuxiliary.contrast(F.normalize(self.fc1(x), dim=1), labels)


class Net(nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 7, 8, padding=3, bias=False)
        self.second = nn.Conv2d(8, 8, 1, bias=False)
        self.fc = nn.Linear(8, CLASSES)
        self.aux = nn.ModuleList([Large(8, mode)])


def case(mode: str) -> dict:
    net = Net(mode)
    initialise(net, SEED)
    net.double()
    pixels = torch.from_numpy(random_bytes(SEED, 100, 0, BATCH * SIDE * SIDE * 3)).reshape(BATCH, SIDE, SIDE, 3)
    images = pixels.permute(0, 3, 1, 2).double() / 255
    labels = torch.tensor(LABELS)
    optimizer = torch.optim.SGD(net.parameters(), RATE, MOMENTUM, weight_decay=DECAY, nesterov=True)
    steps = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        x = net.first((images * 255 - 120) / 60)
        terms = [net.aux[0].reconstruction(x, images), net.aux[0].classification(x, labels)]
        terms.append(F.cross_entropy(net.fc(net.second(x.detach()).mean((2, 3))), labels))
        sum(terms).backward()
        optimizer.step()
        steps.append([t.item() for t in terms])
    return {"mode": mode, "steps": steps, "final": {n: p.abs().sum().item() for n, p in net.named_parameters()}}


def main() -> None:
    out = {"command": "python3 methods/testdata/make_infopro_large.py", "torch": torch.__version__, "cases": [case("softmax"), case("contrast")]}
    Path(__file__).with_name("infopro_large.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
