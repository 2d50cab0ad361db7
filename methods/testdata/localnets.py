"""CIFAR ResNets trained by backpropagation or locally, in PyTorch.

This is the yardstick our own engine is compared with, so it is written to be
read beside the papers, not to be fast. It owns the counter-based random
numbers that both sides share, the networks, the auxiliary networks of each
method, and one training step. `make_golden.py` writes traces with it and
`scripts/peer_bench.py` times it.

A network is a list of units (the stem, then every residual block) and a head
(global average pool, linear, cross-entropy). A method cuts the list into
modules. Every module but the last ends in an auxiliary network with a loss of
its own; the gradient stops at the border, the activation does not.

Needs Python 3.11, NumPy and PyTorch 1.13 or later.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

# --------------------------------------------------------------------------
# Random numbers: Philox4x32-10 (Salmon et al., SC 2011)
# --------------------------------------------------------------------------

PURPOSE_PARAMETER = 1
"""Stream of initial parameters; the epoch word is the FNV-1a of the name."""

_MASK32 = np.uint64(0xFFFFFFFF)
_SHIFT32 = np.uint64(32)


def philox4x32(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Ten rounds of Philox on counters [B, 4]; returns words uint32 [B, 4]."""
    c0, c1, c2, c3 = counter.astype(np.uint64).T
    k0, k1 = key
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * c0
        p1 = np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (
            (p1 >> _SHIFT32) ^ c1 ^ np.uint64(k0),
            p1 & _MASK32,
            (p0 >> _SHIFT32) ^ c3 ^ np.uint64(k1),
            p0 & _MASK32,
        )
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def random_words(seed: int, purpose: int, epoch: int, count: int) -> np.ndarray:
    """The first `count` words (uint32) of the stream (seed, purpose, epoch).

    Element i is lane i % 4 of block i // 4.
    """
    blocks = np.arange((count + 3) // 4, dtype=np.uint64)
    counter = np.empty((len(blocks), 4), np.uint64)
    counter[:, 0] = blocks & _MASK32
    counter[:, 1] = blocks >> _SHIFT32
    counter[:, 2] = epoch
    counter[:, 3] = purpose
    key = (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF)
    return philox4x32(counter, key).reshape(-1)[:count]


def random_bytes(seed: int, purpose: int, epoch: int, count: int) -> np.ndarray:
    """The stream as bytes: byte j is little-endian byte j % 4 of word j // 4."""
    words = random_words(seed, purpose, epoch, (count + 3) // 4)
    return words.astype("<u4").view(np.uint8)[:count]


def uniforms(seed: int, purpose: int, epoch: int, count: int) -> np.ndarray:
    """Float64 in [0, 1): word * 2^-32."""
    return random_words(seed, purpose, epoch, count) * 2.0**-32


def normals(seed: int, purpose: int, epoch: int, count: int) -> np.ndarray:
    """Float64 standard normals, Box-Muller on the lane pairs (0,1) and (2,3)."""
    words = random_words(seed, purpose, epoch, count + count % 2).astype(np.float64)
    even, odd = words[0::2], words[1::2]
    radius = np.sqrt(-2.0 * np.log((even + 1.0) * 2.0**-32))
    angle = 2.0 * np.pi * odd * 2.0**-32
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.reshape(-1)[:count]


def fnv1a32(text: str) -> int:
    """32-bit FNV-1a of the UTF-8 bytes of `text`."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


# --------------------------------------------------------------------------
# Networks
# --------------------------------------------------------------------------

CLASSES = 10
IMAGE_SIDE = 32
STAGE_WIDTHS = (16, 32, 64)
BLOCKS_PER_STAGE = {"resnet32": 5, "resnet110": 18}


class BasicBlock(nn.Module):
    """conv-BN-ReLU-conv-BN plus shortcut, then ReLU.

    The shortcut is a 1x1 convolution with BN where the shape changes.
    """

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_width, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_width != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_width, width, 1, stride, bias=False),
                nn.BatchNorm2d(width),
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        return F.relu(out, inplace=True)


class ResNet(nn.Module):
    """CIFAR ResNet (He et al., 2016), parameters named as in torchvision."""

    def __init__(self, blocks_per_stage: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, STAGE_WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(STAGE_WIDTHS[0])
        self.unit_widths = [STAGE_WIDTHS[0]]
        self.unit_sides = [IMAGE_SIDE]
        for stage, width in enumerate(STAGE_WIDTHS):
            blocks = nn.Sequential()
            for block in range(blocks_per_stage):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(BasicBlock(self.unit_widths[-1], width, stride))
                self.unit_widths.append(width)
                self.unit_sides.append(self.unit_sides[-1] // stride)
            setattr(self, f"layer{stage + 1}", blocks)
        self.fc = nn.Linear(STAGE_WIDTHS[-1], CLASSES)

    def blocks(self) -> list[nn.Module]:
        """All residual blocks; block b is unit b + 1."""
        return [*self.layer1, *self.layer2, *self.layer3]

    def run_unit(self, unit: int, x: Tensor) -> Tensor:
        if unit == 0:
            return F.relu(self.bn1(self.conv1(x)), inplace=True)
        return self.blocks()[unit - 1](x)

    def run_head(self, x: Tensor) -> Tensor:
        """Logits [N, classes]."""
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


# --------------------------------------------------------------------------
# Auxiliary networks, one class a method
# --------------------------------------------------------------------------


class Auxiliary(nn.Module):
    """What follows a module: from its output to its loss terms.

    `weights` names the terms and their factors in the loss.
    """

    weights: dict[str, float]

    def forward(self, x: Tensor, labels: Tensor, images: Tensor) -> dict[str, Tensor]:
        """Unweighted terms for output x [N, C, S, S]; images are in [0, 1]."""
        raise NotImplementedError


class AugLocalAuxiliary(Auxiliary):
    """New blocks shaped like chosen later units, pool, linear (Ma et al.).

    A debt of halvings grows by log2 of each width ratio; while it is at least
    one, a block takes stride 2 and pays one.
    """

    def __init__(self, in_width: int, widths: list[int]) -> None:
        super().__init__()
        self.weights = {"classification": 1.0}
        self.layers = nn.ModuleList()
        self.strides: list[int] = []
        debt = 0.0
        for width in widths:
            debt += math.log2(width / in_width)
            stride = 2 if debt >= 1 else 1
            debt -= stride - 1
            self.layers.append(BasicBlock(in_width, width, stride))
            self.strides.append(stride)
            in_width = width
        self.bn = nn.BatchNorm1d(in_width) if len(widths) <= 1 else None
        self.fc = nn.Linear(in_width, CLASSES)

    def forward(self, x: Tensor, labels: Tensor, images: Tensor) -> dict[str, Tensor]:
        for layer in self.layers:
            x = layer(x)
        features = F.adaptive_avg_pool2d(x, 1).flatten(1)
        if self.bn is not None:
            features = self.bn(features)
        return {"classification": F.cross_entropy(self.fc(features), labels)}


class DGLAuxiliary(Auxiliary):
    """Pool, three 1x1 convolutions, pool, three linear layers (Belilovsky et al.)."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.weights = {"classification": 1.0}
        self.pool_side = math.ceil(side / 4)
        self.flat_side = min(self.pool_side, 2)
        features = width * self.flat_side**2
        self.conv1 = nn.Conv2d(width, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.fc1 = nn.Linear(features, features, bias=False)
        self.bn4 = nn.BatchNorm1d(features)
        self.fc2 = nn.Linear(features, features, bias=False)
        self.bn5 = nn.BatchNorm1d(features)
        self.fc3 = nn.Linear(features, CLASSES)

    def forward(self, x: Tensor, labels: Tensor, images: Tensor) -> dict[str, Tensor]:
        x = F.adaptive_avg_pool2d(x, self.pool_side)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        x = F.relu(self.bn3(self.conv3(x)), inplace=True)
        x = F.adaptive_avg_pool2d(x, self.flat_side).flatten(1)
        x = F.relu(self.bn4(self.fc1(x)), inplace=True)
        x = F.relu(self.bn5(self.fc2(x)), inplace=True)
        return {"classification": F.cross_entropy(self.fc3(x), labels)}


class PredSimAuxiliary(Auxiliary):
    """A prediction and a similarity-matching loss (Noekland and Eidnes)."""

    MAX_FEATURES = 512

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.weights = {"similarity": 0.99, "prediction": 0.01}
        self.kernel = self.pool_kernel(width, side)
        features = width * math.ceil(side / self.kernel[0]) * math.ceil(side / self.kernel[1])
        self.pred = nn.Linear(features, CLASSES)
        self.sim = nn.Conv2d(width, width, 3, padding=1, bias=False)

    @classmethod
    def pool_kernel(cls, width: int, side: int) -> tuple[int, int]:
        """Doubles height, then width, in turn, until the map is small enough."""
        kernel = [1, 1]
        turn = 0
        while width * math.ceil(side / kernel[0]) * math.ceil(side / kernel[1]) > cls.MAX_FEATURES:
            kernel[turn] *= 2
            turn = 1 - turn
        return kernel[0], kernel[1]

    @staticmethod
    def cosines(rows: Tensor) -> Tensor:
        """Products [N, N] of the centred, normalised rows of [N, C]."""
        centred = rows - rows.mean(dim=1, keepdim=True)
        norms = centred.square().sum(dim=1, keepdim=True).sqrt()
        unit = centred / (1e-8 + norms)
        return (unit @ unit.t()).clamp(-1, 1)

    def forward(self, x: Tensor, labels: Tensor, images: Tensor) -> dict[str, Tensor]:
        spread = self.sim(x).flatten(2).std(dim=2)  # unbiased
        target = F.one_hot(labels, CLASSES).to(x.dtype)
        pooled = F.avg_pool2d(x, self.kernel).flatten(1)
        return {
            "similarity": F.mse_loss(self.cosines(spread), self.cosines(target)),
            "prediction": F.cross_entropy(self.pred(pooled), labels),
        }


class InfoProAuxiliary(Auxiliary):
    """Reconstruction of the image and a classification loss (Wang et al.).

    Mode `softmax` classifies by cross-entropy, `contrast` by the supervised
    contrastive loss. The head is the program's `1c2f`: a convolution and two
    linear layers in both modes; `2c2f` has a second convolution.
    """

    FEATURES = 128
    TEMPERATURE = 0.07

    def __init__(
        self, width: int, mode: str, weights: tuple[float, float], head: str = "1c2f"
    ) -> None:
        super().__init__()
        self.mode = mode
        self.weights = {"reconstruction": weights[0], "classification": weights[1]}
        out, stride = {16: (32, 2), 32: (64, 2), 64: (64, 1)}[width]
        self.conv = nn.Conv2d(width, out, 3, stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(out)
        self.conv2: nn.Module | None = None
        if head == "2c2f":
            self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(out)
        self.fc1 = nn.Linear(out, self.FEATURES)
        self.fc2 = nn.Linear(self.FEATURES, CLASSES if mode == "softmax" else self.FEATURES)
        self.dec1 = nn.Conv2d(width, 12, 3, padding=1)
        self.dec_bn = nn.BatchNorm2d(12)
        self.dec2 = nn.Conv2d(12, 3, 3, padding=1)

    def forward(self, x: Tensor, labels: Tensor, images: Tensor) -> dict[str, Tensor]:
        return {
            "reconstruction": self.reconstruction(x, images),
            "classification": self.classification(x, labels),
        }

    def reconstruction(self, x: Tensor, images: Tensor) -> Tensor:
        x = F.interpolate(x, size=images.shape[2:], mode="bilinear", align_corners=True)
        x = F.relu(self.dec_bn(self.dec1(x)), inplace=True)
        return F.binary_cross_entropy(torch.sigmoid(self.dec2(x)), images)

    def classification(self, x: Tensor, labels: Tensor) -> Tensor:
        x = F.relu(self.bn(self.conv(x)), inplace=True)
        if self.conv2 is not None:
            x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        hidden = F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1).flatten(1)), inplace=True)
        features = self.fc2(hidden)
        if self.mode == "contrast":
            return self.contrast(F.normalize(features, dim=1), labels)
        return F.cross_entropy(features, labels)

    @classmethod
    def contrast(cls, features: Tensor, labels: Tensor) -> Tensor:
        """Supervised contrastive loss of unit rows [N, 128].

        A sample without a positive adds zero, and still counts in the mean
        over samples.
        """
        others = ~torch.eye(len(labels), dtype=torch.bool)
        positives = (labels[:, None] == labels[None, :]) & others
        logits = features @ features.t() / cls.TEMPERATURE
        log_sum = logits.masked_fill(~others, -math.inf).logsumexp(dim=1, keepdim=True)
        log_probability = (logits - log_sum).masked_fill(~positives, 0.0)
        count = positives.sum(dim=1).clamp(min=1)
        return -(log_probability.sum(dim=1) / count).mean()


class MANAuxiliary(InfoProAuxiliary):
    """InfoPro's losses after two units shaped like the next one (Su et al., 2024).

    `average` follows the next unit and is not trained; `bias` is.
    """

    MOMENTUM = 0.995

    def __init__(
        self, following: nn.Module, mode: str, weights: tuple[float, float], head: str = "1c2f"
    ) -> None:
        super().__init__(following.conv1.out_channels, mode, weights, head)
        self.average = copy.deepcopy(following).requires_grad_(False)
        self.bias = copy.deepcopy(following)

    def forward(self, x: Tensor, labels: Tensor, images: Tensor) -> dict[str, Tensor]:
        return super().forward(self.bias(x) + self.average(x), labels, images)

    @torch.no_grad()
    def follow(self, following: nn.Module) -> None:
        for mine, source in zip(self.average.parameters(), following.parameters(), strict=True):
            mine.mul_(self.MOMENTUM).add_(source, alpha=1 - self.MOMENTUM)


# --------------------------------------------------------------------------
# Methods
# --------------------------------------------------------------------------

METHODS = ("bp", "checkpoint", "auglocal", "dgl", "predsim", "infopro", "man")

CUTS: dict[tuple[str, int], list[tuple[int, int]]] = {
    ("resnet32", 4): [(1, 2), (2, 1), (3, 0)],
    ("resnet32", 8): [(1, 0), (1, 2), (1, 4), (2, 1), (2, 3), (3, 0), (3, 2)],
    ("resnet110", 4): [(1, 11), (2, 7), (3, 3)],
}
"""Cuts of fewer modules than units, as (stage, block) of each module's last unit."""

COEFFICIENTS: dict[tuple[str, str, int], tuple[float, float, float, float]] = {
    ("resnet32", "softmax", 16): (5, 0.05, 0.2, 0.5),
    ("resnet110", "softmax", 55): (5, 0, 0.5, 1),
    ("resnet32", "contrast", 4): (6, 0, 1, 2),
    ("resnet32", "contrast", 8): (5, 0, 0, 2),
    ("resnet110", "contrast", 4): (1, 0, 0, 1),
}
"""InfoPro (a_1, b_1, a_2, b_2) for CIFAR-10 by network, mode and modules."""


MAN_PROGRAM = (5, 0.5, 0, 0)
"""(a_1, b_1, a_2, b_2) of the command in the README of MAN's program."""


@dataclass(frozen=True)
class Spec:
    """A network under a method. `modules` is K, 0 for one a unit."""

    network: str
    method: str
    modules: int = 0
    aux_depth: int = 0
    """AugLocal's d."""
    pyramid: float = 0.5
    """AugLocal's t."""
    mode: str = "softmax"
    """InfoPro's classification loss."""
    program: bool = False
    """MAN as its published program runs it."""

    def units(self) -> int:
        return 1 + len(STAGE_WIDTHS) * BLOCKS_PER_STAGE[self.network]

    def last_units(self) -> list[int]:
        """Last unit of each module but the last."""
        if self.method in ("bp", "checkpoint"):
            return []
        if self.method == "auglocal":
            return list(range(self.units() - self.aux_depth - 1))
        if self.modules in (0, self.units()):
            # The stem of MAN's program belongs to the first module.
            return list(range(1 if self.program else 0, self.units() - 1))
        stage_blocks = BLOCKS_PER_STAGE[self.network]
        cuts = CUTS[self.network, self.modules]
        return [1 + (stage - 1) * stage_blocks + block for stage, block in cuts]


def auglocal_depths(auxiliaries: int, depth: int, pyramid: float) -> list[int]:
    """Depth of each auxiliary network, from `depth` down (AugLocal's pyramid)."""
    depths = []
    for index in range(auxiliaries):
        slope = index * pyramid / (auxiliaries - 1) if auxiliaries > 1 else 0.0
        depths.append(max(1, round(depth * (1 - slope) + slope)))
    return depths


def auglocal_units(unit: int, units: int, depth: int) -> list[int]:
    """Units copied after `unit`: evenly spaced up to the last (AugLocal's uniform selection)."""
    rest = units - 1 - unit
    if depth >= rest:
        return list(range(unit + 1, units))
    return [round(unit + rest / depth * i) for i in range(1, depth + 1)]


@dataclass(frozen=True)
class Module:
    """Consecutive units trained together; the last module has no auxiliary."""

    units: range
    auxiliary: Auxiliary | None
    chosen: list[int]
    """Units that AugLocal copied, else empty."""


class LocalNet(ResNet):
    """A network, its cut into modules, and `aux.<m>` after module m."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(BLOCKS_PER_STAGE[spec.network])
        self.spec = spec
        self.local_modules: list[Module] = []
        last_units = spec.last_units()
        auxiliaries = nn.ModuleList()
        first = 0
        for index, unit in enumerate(last_units):
            auxiliary, chosen = self._auxiliary(index, unit, len(last_units))
            auxiliaries.append(auxiliary)
            self.local_modules.append(Module(range(first, unit + 1), auxiliary, chosen))
            first = unit + 1
        self.local_modules.append(Module(range(first, spec.units()), None, []))
        self.aux = auxiliaries

    def _auxiliary(self, index: int, unit: int, count: int) -> tuple[Auxiliary, list[int]]:
        width, side = self.unit_widths[unit], self.unit_sides[unit]
        match self.spec.method:
            case "auglocal":
                depths = auglocal_depths(count, self.spec.aux_depth, self.spec.pyramid)
                chosen = auglocal_units(unit, self.spec.units(), depths[index])
                widths = [self.unit_widths[i] for i in chosen]
                return AugLocalAuxiliary(width, widths), chosen
            case "dgl":
                return DGLAuxiliary(width, side), []
            case "predsim":
                return PredSimAuxiliary(width, side), []
            case "infopro" | "man":
                if self.spec.program:
                    a1, b1, a2, b2 = MAN_PROGRAM
                    # The stage of the next unit, which is block `unit`, by K - 2.
                    stage = 1 + unit // BLOCKS_PER_STAGE[self.spec.network]
                    r = stage / ((self.spec.modules or self.spec.units()) - 2)
                    head = "2c2f"
                else:
                    key = (self.spec.network, self.spec.mode, count + 1)
                    a1, b1, a2, b2 = COEFFICIENTS[key]
                    r = index / (count - 1) if count > 1 else 0.0
                    head = "1c2f"
                weights = (a1 * (1 - r) + a2 * r, b1 * (1 - r) + b2 * r)
                if self.spec.method == "man":
                    return MANAuxiliary(self.blocks()[unit], self.spec.mode, weights, head), []
                return InfoProAuxiliary(width, self.spec.mode, weights), []
        raise ValueError(f"localnets: unknown method {self.spec.method}")

    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


def initialise(model: nn.Module, seed: int) -> None:
    """Sets every parameter from (seed, its name, its element index).

    Convolution weights: normal * sqrt(2 / (kh * kw * out)). BN: 1 and 0. Linear
    weights and all biases: uniform in +-1/sqrt(fan_in). Element order is that
    of the PyTorch tensor (OIHW, [out, in]), whatever its memory format.
    """
    for prefix, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            for kind, parameter in module.named_parameters(recurse=False):
                stream = (seed, PURPOSE_PARAMETER, fnv1a32(f"{prefix}.{kind}"), parameter.numel())
                if isinstance(module, nn.Conv2d) and kind == "weight":
                    values = normals(*stream) * math.sqrt(
                        2 * module.in_channels / (fan_in * module.out_channels)
                    )
                else:
                    values = (2 * uniforms(*stream) - 1) / math.sqrt(fan_in)
                shaped = values.astype(np.float32).reshape(parameter.shape)
                parameter.data.copy_(torch.from_numpy(shaped))
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


# --------------------------------------------------------------------------
# Training
# --------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    inputs: Tensor
    """Normalised images [N, 3, S, S]."""
    images: Tensor
    """The same images in [0, 1]."""
    labels: Tensor
    """int64 [N]."""


@dataclass(frozen=True)
class ModuleLoss:
    """Loss of one module in one step: unweighted terms and weighted total."""

    terms: dict[str, Tensor]
    total: Tensor


def run_checkpointed(model: LocalNet, x: Tensor) -> Tensor:
    """All units, in segments of about sqrt(units); all but the last are recomputed."""
    units = model.spec.units()
    size = round(math.sqrt(units))

    def run(first: int, last: int, x: Tensor) -> Tensor:
        for unit in range(first, last):
            x = model.run_unit(unit, x)
        return x

    x.requires_grad_()  # or the first segment is not differentiated
    for first in range(0, units, size):
        last = min(first + size, units)
        if last == units:
            x = run(first, last, x)
        else:
            x = checkpoint(functools.partial(run, first, last), x)
    return x


def forward_backward(model: LocalNet, batch: Batch) -> Iterator[ModuleLoss]:
    """Runs every module forward and, right after, backward.

    Gradients are left in the parameters for one optimizer step at the end.
    Because the border cuts them, those of a module come from its own loss only.
    """
    x = batch.inputs
    for module in model.local_modules:
        if model.spec.method == "checkpoint":
            x = run_checkpointed(model, x)
        else:
            for unit in module.units:
                x = model.run_unit(unit, x)
        if module.auxiliary is None:
            terms = {"classification": F.cross_entropy(model.run_head(x), batch.labels)}
            weights = {"classification": 1.0}
        else:
            terms = module.auxiliary(x, batch.labels, batch.images)
            weights = module.auxiliary.weights
        total = sum(weights[name] * term for name, term in terms.items())
        total.backward()
        if isinstance(module.auxiliary, MANAuxiliary):
            module.auxiliary.follow(model.blocks()[module.units[-1]])
        x = x.detach()
        yield ModuleLoss({name: t.detach() for name, t in terms.items()}, total.detach())


def make_optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float = 1e-4
) -> torch.optim.SGD:
    """SGD of the recipes: Nesterov momentum 0.9, decay on every parameter."""
    return torch.optim.SGD(
        model.parameters(), lr=learning_rate, momentum=0.9, nesterov=True, weight_decay=weight_decay
    )
