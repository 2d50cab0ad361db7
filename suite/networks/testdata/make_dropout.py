#!/usr/bin/env python3
"""Writes what torchvision's networks give in training with our dropout, `dropout.json`, beside this script.

    python3 suite/networks/testdata/make_dropout.py

The numbers are drawn here once more, from the contract in the comments of core/rng and of core/graph/dropout.go:
Philox4x32-10, keyed by the seed, at the counter (k / 4, FNV-1a of the module's name, step, 4), word k % 4, for
element k of the batch, or sample k under stochastic depth. What is below rate * 2^32 is dropped, and the rest is
divided by 1 - rate. torchvision's modules are replaced by ones that multiply by that; rates, and where they stand,
are torchvision's own.

One JSON object:

    command, torch, torchvision   where the file is from
    steps        per network: side of the images, classes, batch, seed, learning rate, and the loss of each step of
                 plain gradient descent, in double precision, with weights by `fill` and images by `formula`
    logits       per network: side, classes, seed, step, and the logits of two images in training mode

Needs Python 3.11, numpy, PyTorch and torchvision.
"""

import json
from pathlib import Path

import numpy
import torch
import torchvision
from torch import nn

from make_golden import fill, formula, make, make_small

# In MobileNetV2 rounding changes signs before a ReLU: with a larger rate PyTorch's own f32 is 1 % off at step 3.
STEPS = [("mobilenetv2", 32, 5, 8, 3, 1e-4, 5), ("efficientnetb0", 32, 5, 8, 2**63 + 5, 0.01, 5), ("efficientnetb0", 128, 5, 4, 11, 0.01, 3)]
LOGITS = [("vgg11", 128, 3, 1, 7)]
PURPOSE = 4


def philox(counter: list, key: tuple[int, int]) -> list:
    """Four arrays of words at arrays of counters."""
    low = numpy.uint64(0xFFFFFFFF)
    c = [numpy.asarray(x, numpy.uint64) for x in counter]
    k = list(key)
    for _ in range(10):
        a, b = c[0] * numpy.uint64(0xD2511F53), c[2] * numpy.uint64(0xCD9E8D57)
        high = numpy.uint64(32)
        c = [(b >> high) ^ c[1] ^ numpy.uint64(k[0]), b & low, (a >> high) ^ c[3] ^ numpy.uint64(k[1]), a & low]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


def words(count: int, seed: int, name: str, step: int) -> numpy.ndarray:
    salt = 2166136261
    for byte in name.encode():
        salt = (salt ^ byte) * 16777619 % 2**32
    blocks = numpy.arange((count + 3) // 4, dtype=numpy.uint64)
    same = numpy.zeros_like(blocks)
    four = philox([blocks, same + numpy.uint64(salt), same + numpy.uint64(step), same + numpy.uint64(PURPOSE)],
                  (seed % 2**32, seed >> 32))
    return numpy.stack(four, axis=1).reshape(-1)[:count]


class Dropped(nn.Module):
    """Dropout, or stochastic depth by rows, with numbers of our generator."""

    def __init__(self, name: str, rate: float, rows: bool, at: dict) -> None:
        super().__init__()
        self.name, self.rate, self.rows, self.at = name, rate, rows, at

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.rate == 0:
            return x
        count = x.shape[0] if self.rows else x.numel()
        kept = torch.from_numpy(words(count, self.at["seed"], self.name, self.at["step"]) >= self.rate * 2.0**32)
        shape = [x.shape[0]] + [1] * (x.dim() - 1) if self.rows else x.shape
        self.at["seen"] += 1
        return x * kept.reshape(shape).to(x.dtype) / (1 - self.rate)


def network(name: str, side: int, classes: int, seed: int) -> tuple[nn.Module, dict]:
    net = (make if side >= 128 else make_small)(name, classes).double()
    at = {"seed": seed, "step": 0, "seen": 0}
    for path, module in list(net.named_modules()):
        rows = isinstance(module, torchvision.ops.StochasticDepth)
        if rows or isinstance(module, nn.Dropout):
            assert not rows or module.mode == "row"
            parent, _, last = path.rpartition(".")
            setattr(net.get_submodule(parent), last, Dropped(path, module.p, rows, at))
    fill(net)
    return net.train(), at


def pictures(count: int, side: int, salt: int) -> torch.Tensor:
    images = ((formula(count * side * side * 3, salt) + 1) * 128).floor().reshape(count, side, side, 3)
    return ((images - 120) / 60).permute(0, 3, 1, 2).contiguous()


def losses(name: str, side: int, classes: int, batch: int, seed: int, rate: float, steps: int) -> dict:
    net, at = network(name, side, classes, seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    out = []
    for step in range(steps):
        at["step"] = step
        loss = nn.functional.cross_entropy(net(pictures(batch, side, 7 + step)), torch.arange(batch) % classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        out.append(loss.item())
    return {"network": name, "side": side, "classes": classes, "batch": batch, "seed": str(seed), "rate": rate,
            "drops": at["seen"] // steps, "losses": out}


def logits(name: str, side: int, classes: int, seed: int, step: int) -> dict:
    net, at = network(name, side, classes, seed)
    at["step"] = step
    with torch.no_grad():
        training = net(pictures(2, side, 7))
    return {"network": name, "side": side, "classes": classes, "seed": str(seed), "step": step,
            "drops": at["seen"], "training": training.flatten().tolist()}


def main() -> None:
    out = {"command": "python3 suite/networks/testdata/make_dropout.py", "torch": torch.__version__,
           "torchvision": torchvision.__version__,
           "steps": [losses(*c) for c in STEPS], "logits": [logits(*c) for c in LOGITS]}
    Path(__file__).with_name("dropout.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
