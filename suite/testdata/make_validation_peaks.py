#!/usr/bin/env python3
"""Writes validation_peaks.csv: the memory peaks of training loops in PyTorch, without a GPU.

    python3 suite/testdata/make_validation_peaks.py > suite/testdata/validation_peaks.csv

The loops are those of docs/validation.md: torchvision's networks on images of 86 pixels, three steps, a new batch in each while
the one before is still held. Autograd and the optimizers are PyTorch's own, on device `meta`; core/eager/testdata/make_peaks.py
says how allocations are seen and counted. No workspace of a library is in the figures.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "core" / "eager" / "testdata"))
import make_peaks  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
from torch import nn  # noqa: E402

SIDE, STEPS = 86, 3
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop,
              "adagrad": torch.optim.Adagrad}
# Network, classes, optimizer, batch, zero_grad.
ROWS = """
convnext_tiny 1000 sgd 200 1
convnext_tiny 1000 rmsprop 391 1
convnext_base 1000 adam 200 0
mnasnet1_0 10 adamw 377 1
mnasnet1_0 10 sgd 700 1
mobilenet_v2 1000 adagrad 477 1
mobilenet_v2 1000 adamw 251 2
mobilenet_v3_large 10 adagrad 252 2
mobilenet_v3_small 10 sgd 258 1
mobilenet_v3_small 10 adam 638 0
regnet_x_400mf 1000 adam 382 1
regnet_y_400mf 1000 rmsprop 311 1
regnet_y_400mf 1000 sgd 503 2
resnet101 1000 adagrad 150 1
resnet152 1000 adam 326 1
vgg16 1000 adagrad 480 1
vgg16 1000 sgd 300 0
vgg19 1000 adam 339 1
"""


def run(name: str, classes: int, optimizer: str, batch: int, zero_grad: str) -> tuple[int, int]:
    live = make_peaks.Live()
    nn.functional.dropout = make_peaks.native_dropout
    net = getattr(torchvision.models, name)(num_classes=classes).to("meta").train()
    live.watch([*net.parameters(), *net.buffers()], "state")
    with live:
        update = OPTIMIZERS[optimizer](net.parameters(), lr=0.001, foreach=True)
        live.settle_state(update)
        for _ in range(STEPS):
            live.reset()
            images = torch.empty(batch, 3, SIDE, SIDE, device="meta")
            labels = torch.empty(batch, dtype=torch.int64, device="meta")
            if zero_grad == "0":
                update.zero_grad()
            logits = net(images)
            loss = nn.functional.cross_entropy(logits, labels)
            if zero_grad == "1":
                update.zero_grad()
            live.in_backward = True
            loss.backward()
            live.in_backward = False
            live.settle()
            live.scan()
            update.step()
            if zero_grad == "2":
                update.zero_grad()
            live.scan()
    return live.peak["allocated"], live.allocator.reserved


def main() -> None:
    print("# python3 suite/testdata/make_validation_peaks.py, torch", torch.__version__, "torchvision", torchvision.__version__)
    print("network,classes,optimizer,batch,zero_grad,allocated_bytes,reserved_bytes")
    for line in ROWS.split("\n"):
        if line:
            name, classes, optimizer, batch, zero_grad = line.split()
            print(line.replace(" ", ","), *run(name, int(classes), optimizer, int(batch), zero_grad), sep=",", flush=True)


if __name__ == "__main__":
    main()
