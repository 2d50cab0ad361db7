"""Writes the .pt2 files of this folder: python make.py FOLDER (torch 2.15, torchvision 0.29).

Each is torch.export.save of a network in training mode, without weights, sample inputs and stack traces, so that it is small.
"""

import io
import json
import sys
import zipfile

import torch
import torchvision
from torch import nn


class Odd(nn.Module):
    """Shortcuts outside of blocks, functions in place of modules, a view with a literal batch, an average pool."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(8, eps=1e-3, momentum=0.2)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.third = nn.Conv2d(8, 12, (3, 1), stride=2, groups=4)
        self.side = nn.Conv2d(8, 12, (3, 1), stride=2)
        self.hidden = nn.Linear(12 * 4 * 4, 20)
        self.hidden_norm = nn.BatchNorm1d(20)
        self.out = nn.Linear(20, 10, bias=False)

    def forward(self, x):
        x = torch.nn.functional.silu(self.first_norm(self.first(x)))
        x = x + torch.relu(self.second(x))
        x = self.side(x) + self.third(x)
        x = torch.nn.functional.relu6(x)
        x = torch.nn.functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        x = torch.nn.functional.max_pool2d(x, 2, ceil_mode=True)
        x = torch.nn.functional.dropout(x.reshape(x.shape[0], -1), 0.25)
        return self.out(torch.relu_(self.hidden_norm(self.hidden(x))))


class Unsupported(nn.Module):
    """Ops that the step program does not have."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, dilation=2)
        self.act = nn.GELU()
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = self.act(self.act(self.stem(x)))
        return self.head(torch.cat([x, x], 1).amax((2, 3))[:, :8])


def save(path, network, size, symbolic=False):
    shapes = ({0: torch.export.Dim("batch")},) if symbolic else None
    exported = torch.export.export(network, (torch.zeros(4, 3, size, size),), dynamic_shapes=shapes)
    whole = io.BytesIO()
    torch.export.save(exported, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for name in source.namelist():
            if "/data/sample_inputs/" in name or "/data/weights/weight_" in name:
                continue
            content = source.read(name)
            if "/models/" in name:
                document = json.loads(content)
                for node in document["graph_module"]["graph"]["nodes"]:
                    node["metadata"].pop("stack_trace", None)
                content = json.dumps(document, separators=(",", ":")).encode()
            target.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)


def main(folder):
    torch.manual_seed(0)
    for name in ("resnet18", "resnet34", "resnet50", "vgg13_bn", "mobilenet_v2", "regnet_x_400mf", "efficientnet_b0"):
        save(f"{folder}/{name}.pt2", torchvision.models.get_model(name, weights=None).train(), 224)
    save(f"{folder}/odd.pt2", Odd().train(), 32)
    save(f"{folder}/odd_symbolic.pt2", Odd().train(), 32, symbolic=True)
    save(f"{folder}/odd_evaluation.pt2", Odd().eval(), 32)
    save(f"{folder}/unsupported.pt2", Unsupported().train(), 32)


main(sys.argv[1])
