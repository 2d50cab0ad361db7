#!/usr/bin/env python3
"""Writes the parameters of auxiliary networks, `counts.json`, beside this script.

    python3 methods/testdata/make_counts.py

They are counted from the descriptions of the methods, for networks whose goldens are not traces: at 224
pixels and 1000 classes and at 32 pixels and 10, one module a unit. A network is described by what is
after each unit: nominal width, channels and side. One JSON object a line of `counts`: network, method,
depth (of AugLocal), side, classes, auxiliary parameters.

Needs Python 3.11.
"""

import json
import math
from pathlib import Path

STAGES = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3),
          "vgg13": (2, 2, 2, 2, 2), "vgg19": (2, 2, 4, 4, 4)}
BOTTLENECKS = ("resnet50", "resnet101")
# Width, blocks and stride of the stages after a stem of 32 channels; the strides in brackets are 1 for small images.
OTHERS = {
    "mobilenetv2": ((16, 1, 1), (24, 2, (2,)), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1), (1280, 1, 1)),
    "efficientnetb0": ((16, 1, 1), (24, 2, (2,)), (40, 2, 2), (80, 3, 2), (112, 3, 1), (192, 4, 2), (320, 1, 1)),
    "regnetx400mf": ((32, 1, (2,)), (64, 2, 2), (160, 7, 2), (400, 12, 2)),
}


def conv(c: int, o: int, k: int, bias: bool = False) -> int:
    return c * o * k * k + (o if bias else 0)


def bn(c: int) -> int:
    return 2 * c


def linear(i: int, o: int, bias: bool = True) -> int:
    return i * o + (o if bias else 0)


def units(network: str, side: int) -> list[tuple[int, int, int]]:
    """Nominal width, channels, side after every unit."""
    if network.startswith("vgg"):
        widths = [w for w, n in zip((64, 128, 256, 512, 512), STAGES[network]) for _ in range(n)]
        sides = [side >> s for s, n in enumerate(STAGES[network]) for _ in range(n)]
        return [(w, w, s) for w, s in zip(widths, sides)]
    if network in OTHERS:
        s = side // 2 if side >= 128 else side
        out = [(32, 32, s)]
        for w, count, stride in OTHERS[network]:
            stride = (stride[0] if side >= 128 else 1) if isinstance(stride, tuple) else stride
            s //= stride
            out += [(w, w, s)] * count
        return out
    first = side // 4 if side >= 128 else side
    out = [(64, 64, first)]
    for stage, count in enumerate(STAGES[network]):
        w = 64 << stage
        out += [(w, 4 * w if network in BOTTLENECKS else w, first >> stage)] * count
    return out


def block(network: str, c: int, w: int, stride: int, expansion: int = 6) -> tuple[int, int]:
    """Parameters of a fresh block on c channels, and its channels."""
    if network == "mobilenetv2":
        if w == 1280:
            return conv(c, w, 1) + bn(w), w
        i = expansion * c
        return (conv(c, i, 1) + bn(i) if expansion > 1 else 0) + conv(1, i, 3) + bn(i) + conv(i, w, 1) + bn(w), w
    if network == "efficientnetb0":
        i, q, k = expansion * c, max(c // 4, 1), 5 if w in (40, 112, 192) else 3
        squeeze = conv(i, q, 1, True) + conv(q, i, 1, True)
        return (conv(c, i, 1) + bn(i) if expansion > 1 else 0) + conv(1, i, k) + bn(i) + squeeze + conv(i, w, 1) + bn(w), w
    if network == "regnetx400mf":
        shortcut = conv(c, w, 1) + bn(w) if stride != 1 or c != w else 0
        return shortcut + conv(c, w, 1) + conv(16, w, 3) + conv(w, w, 1) + 3 * bn(w), w
    if network.startswith("vgg"):
        return conv(c, w, 3, True) + bn(w), w
    if network in BOTTLENECKS:
        o = 4 * w
        n = conv(c, w, 1) + conv(w, w, 3) + conv(w, o, 1) + 2 * bn(w) + bn(o)
    else:
        o = w
        n = conv(c, w, 3) + conv(w, w, 3) + 2 * bn(w)
    if stride != 1 or c != o:
        n += conv(c, o, 1) + bn(o)
    return n, o


def auglocal(network: str, side: int, classes: int, d: int) -> int:
    u = units(network, side)
    n = len(u)
    local, t, total = n - d - 1, 0.5, 0
    for unit in range(local):
        depth = max(1, round(d * (1 - unit * t / (local - 1)) + unit * t / (local - 1)))
        left = n - 1 - unit
        chosen = range(unit + 1, n) if depth >= left else [round(unit + left / depth * i) for i in range(1, depth + 1)]
        width, c, debt = u[unit][0], u[unit][1], 0.0
        for at in chosen:
            debt += math.log2(u[at][0] / width)
            stride = 2 if debt >= 1 else 1
            debt -= stride - 1
            more, c = block(network, c, u[at][0], stride)
            total, width = total + more, u[at][0]
        if network.startswith("vgg"):
            total += 2 * (linear(512, 512) + bn(512)) + linear(512, classes)
        else:
            total += linear(c, classes) + (bn(c) if depth <= 1 else 0)
    return total


def dgl(network: str, side: int, classes: int) -> int:
    total = 0
    for w, c, s in units(network, side)[:-1]:
        if network.startswith("vgg") and side >= 128:
            s = {64: side, 128: side // 2, 256: side // 4, 512: side // 8}[w]
        f = c * min(math.ceil(s / 4), 2) ** 2
        total += 3 * (conv(c, c, 1) + bn(c)) + 2 * (linear(f, f, False) + bn(f)) + linear(f, classes)
    return total


def predsim(network: str, side: int, classes: int) -> int:
    total = 0
    for _, c, s in units(network, side)[:-1]:
        h = w = s
        kernel, turn = [1, 1], 0
        while c * h * w > 512 and h * w > 1:
            kernel[turn] *= 2
            turn = 1 - turn
            h, w = math.ceil(s / kernel[0]), math.ceil(s / kernel[1])
        total += conv(c, c, 3) + linear(c * h * w, classes)
    return total


def infopro(network: str, side: int, classes: int) -> int:
    u, total = units(network, side), 0
    for w, c, _ in u[:-1]:
        if side >= 128:
            total += infopro_large(c, classes)
            continue
        o = c if w == u[-1][0] else 2 * c
        total += conv(c, o, 3) + bn(o) + linear(o, 128) + linear(128, classes)
        total += conv(c, 12, 3, True) + bn(12) + conv(12, 3, 3, True)
    return total


def infopro_large(c: int, classes: int) -> int:
    """The program's auxiliary network for ImageNet."""
    decoder = conv(c, 128, 1, True) + conv(128, 32, 3, True) + conv(32, 12, 3, True) + conv(12, 3, 3, True) + bn(128) + bn(32) + bn(12)
    head = conv(c, 128, 1) + conv(128, 256, 3) + conv(256, 512, 3) + conv(512, 2048, 1) + bn(128) + bn(256) + bn(512) + bn(2048)
    return decoder + head + linear(2048, classes)


def man(network: str, side: int, classes: int) -> int:
    """InfoPro's losses after a trained copy of the next unit; the averaged one is not trained."""
    u, total = units(network, side), 0
    for (_, c, s), (w, o, after) in zip(u, u[1:]):
        more, _ = block(network, c, w, 1 if network.startswith("vgg") or s == after else 2, 1 if w == 16 else 6)
        if side >= 128:
            total += more + infopro_large(o, classes)
            continue
        wide = o if w == u[-1][0] else 2 * o
        total += more + conv(o, wide, 3) + bn(wide) + linear(wide, 128) + linear(128, classes)
        total += conv(o, 12, 3, True) + bn(12) + conv(12, 3, 3, True)
    return total


def main() -> None:
    lines = []
    for network in (*STAGES, *OTHERS):
        for side, classes in ((224, 1000), (32, 10)):
            for method, count in (("dgl", dgl), ("predsim", predsim), ("infopro", infopro), ("man", man)):
                lines.append({"network": network, "method": method, "depth": 0, "side": side, "classes": classes,
                              "auxiliary_parameters": count(network, side, classes)})
            for d in (1, 2, 4):
                lines.append({"network": network, "method": "auglocal", "depth": d, "side": side, "classes": classes,
                              "auxiliary_parameters": auglocal(network, side, classes, d)})
    text = '{"command": "python3 methods/testdata/make_counts.py", "counts": [\n' + ",\n".join(map(json.dumps, lines)) + "\n]}\n"
    Path(__file__).with_name("counts.json").write_text(text)


if __name__ == "__main__":
    main()
