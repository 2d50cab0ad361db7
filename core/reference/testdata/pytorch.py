#!/usr/bin/env python3
"""Writes pytorch.json beside this script: results of PyTorch in float64.

    python3 core/reference/testdata/pytorch.py

Each case has a family, options and named tensors, all in the order of the step
program (NHWC, weights OHWI): operands first, then what PyTorch made of them.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F

torch.manual_seed(1)
torch.set_default_dtype(torch.float64)


def draw(*shape, low=-2.0, high=2.0):
    """Numbers of three decimals, so that the file holds them exactly."""
    return ((torch.rand(*shape) * (high - low) + low) * 1000).round() / 1000


def nhwc(t):
    return t.permute(0, 2, 3, 1)


def nchw(t):
    return t.permute(0, 3, 1, 2)


def leaf(t):
    return t.clone().requires_grad_()


def case(name, family, options, **values):
    return {
        "name": name, "family": family, "options": options,
        "values": {k: {"shape": list(v.shape), "data": [float(f"{e:.13g}") for e in v.detach().reshape(-1).tolist()]}
                   for k, v in values.items()},
    }


def conv(name, n, h, w, c, o, r, s, stride=1, padding=0, groups=1, bias=False, dilation=1):
    x, weight = leaf(draw(n, h, w, c)), leaf(draw(o, r, s, c // groups))
    b = leaf(draw(o)) if bias else None
    y = nhwc(F.conv2d(nchw(x), nchw(weight), b, stride, padding, dilation, groups))
    dy = draw(*y.shape)
    y.backward(dy)
    extra = {"bias": b, "dbias": b.grad} if bias else {}
    return case(name, "conv", {"Stride": stride, "Padding": padding, "Groups": groups, "Dilation": dilation},
                x=x, weight=weight, dy=dy, y=y, dx=x.grad, dweight=weight.grad, **extra)


# numbered as in core/graph; F.hardsigmoid's own gradient has 1/6 in single precision
ACTIVATIONS = [lambda y: y, F.relu, F.relu6, F.silu, F.hardswish, lambda y: F.relu6(y + 3) / 6, torch.sigmoid, F.gelu, lambda y: F.gelu(y, approximate="tanh")]


def norm(name, *shape, activation=0, residual=False, second=False, scale=1):
    x, c = leaf(draw(*shape)), shape[-1]
    gamma, beta = leaf(draw(c, low=0.5, high=1.5) * scale), leaf(draw(c))
    running_mean, running_variance = draw(c), draw(c, low=0.5, high=2)
    mean0, variance0 = running_mean.clone(), running_variance.clone()
    rows = x if x.dim() == 2 else nchw(x)
    y = F.batch_norm(rows, running_mean, running_variance, gamma, beta, True, 0.1, 1e-3)
    y = y if x.dim() == 2 else nhwc(y)
    extra = {}
    if residual:
        extra["residual"] = leaf(draw(*shape))
        y = y + extra["residual"]
    y = ACTIVATIONS[activation](y)
    dy = draw(*shape)
    gradient = dy
    if second:
        extra["dy2"] = draw(*shape)
        gradient = dy + extra["dy2"]
    y.backward(gradient)
    if residual and activation:
        extra["dresidual"] = extra["residual"].grad
    flat = x.detach().reshape(-1, c)
    return case(name, "norm", {"Activation": activation}, x=x, gamma=gamma, beta=beta, running_mean=mean0, running_variance=variance0, dy=dy,
                mean=flat.mean(0), variance=flat.var(0, unbiased=False), moved_mean=running_mean, moved_variance=running_variance,
                y=y, dx=x.grad, dgamma=gamma.grad, dbeta=beta.grad, **extra)


def pool(name, family, n, h, w, c, kernel=None, stride=None, padding=(0, 0), ceil=False, counted=False, output=None):
    x = leaf(draw(n, h, w, c))
    extra = {}
    if family == "max_pool":
        y, place = F.max_pool2d(nchw(x), kernel, stride, padding, 1, ceil, True)
        row, column = place // w, place % w  # in the input; ours is in the window
        top = torch.arange(y.shape[2]).reshape(1, 1, -1, 1) * stride[0] - padding[0]
        left = torch.arange(y.shape[3]).reshape(1, 1, 1, -1) * stride[1] - padding[1]
        extra["index"] = nhwc((row - top) * kernel[1] + column - left)
    elif family == "average_pool":
        y = F.avg_pool2d(nchw(x), kernel, stride, padding, ceil, counted)
    else:
        y = F.adaptive_avg_pool2d(nchw(x), output)
    y = nhwc(y)
    dy = draw(*y.shape)
    y.backward(dy)
    return case(name, family, {"Kernel": kernel, "Stride": stride, "Padding": padding, "CeilSize": ceil, "CountPadding": counted, "Output": output},
                x=x, dy=dy, y=y, dx=x.grad, **extra)


def linear(name, shape, o, bias, rows=False):
    x, weight = leaf(draw(*shape)), leaf(draw(o, shape[-1]))
    b = leaf(draw(o)) if bias else None
    y = F.linear(x, weight, b)
    dy = draw(*y.shape)
    y.backward(dy)
    extra = {"bias": b, "dbias": b.grad} if bias else {}
    return case(name, "linear", {"Rows": rows}, x=x, weight=weight, dy=dy, y=y, dx=x.grad, dweight=weight.grad, **extra)


def activation(name, number, *shape):
    x = leaf(draw(*shape, low=-6.0, high=6.0))
    y = ACTIVATIONS[number](x)
    dy = draw(*shape)
    y.backward(dy)
    return case(name, "activation", {"Activation": number}, x=x, dy=dy, y=y, dx=x.grad)


def layer_norm(name, *shape):
    x, gamma, beta = leaf(draw(*shape)), leaf(draw(shape[-1])), leaf(draw(shape[-1]))
    y = F.layer_norm(x, shape[-1:], gamma, beta, 1e-3)
    dy = draw(*shape)
    y.backward(dy)
    return case(name, "layer_norm", {}, x=x, gamma=gamma, beta=beta, dy=dy, y=y, dx=x.grad, dgamma=gamma.grad, dbeta=beta.grad)


def gate(name, number, *shape):
    x, z = leaf(draw(*shape)), leaf(draw(shape[0], 1, 1, shape[3], low=-6.0, high=6.0))
    y = x * ACTIVATIONS[number](z)
    dy = draw(*shape)
    y.backward(dy)
    return case(name, "gate", {"Activation": number}, x=x, z=z, dy=dy, y=y, dx=x.grad, dz=z.grad)


def scale(name, *shape):
    x, s = leaf(draw(*shape)), leaf(draw(shape[-1]))
    y = x * s
    dy = draw(*shape)
    y.backward(dy)
    return case(name, "scale", {}, x=x, s=s, dy=dy, y=y, dx=x.grad, ds=s.grad)


def cross_entropy(name, n, k, scale, spread):
    logits, labels = leaf(draw(n, k) * spread), torch.randint(k, (n,))
    loss = F.cross_entropy(logits, labels)
    (scale * loss).backward()
    correct = (logits.argmax(1) == labels).sum()
    return case(name, "cross_entropy", {"Scale": scale}, logits=logits, labels=labels, loss=loss.reshape(1),
                correct=correct.reshape(1), probabilities=logits.softmax(1), dlogits=logits.grad)


def sgd(name, momentum, decay, nesterov):
    w, gradients = leaf(draw(3, 4)), [draw(3, 4), draw(3, 4)]
    start = w.detach().clone()
    optimizer = torch.optim.SGD([w], lr=0.25, momentum=momentum, weight_decay=decay, nesterov=nesterov)
    for g in gradients:
        w.grad = g.clone()
        optimizer.step()
    return case(name, "sgd", {"Momentum": momentum, "WeightDecay": decay, "Nesterov": nesterov},
                w=start, lr=torch.tensor([0.25]), g=gradients[0], g2=gradients[1], moved=w)


cases = [
    conv("3x3, bias", 2, 5, 4, 3, 4, 3, 3, padding=1, bias=True),
    conv("5x3 with stride 2, padding 2", 1, 7, 6, 2, 3, 5, 3, stride=2, padding=2),
    conv("1x1 with stride 2, bias", 2, 4, 5, 3, 2, 1, 1, stride=2, bias=True),
    conv("two groups", 1, 5, 5, 4, 6, 3, 3, padding=1, groups=2),
    conv("depthwise, two results a channel", 1, 4, 5, 3, 6, 3, 3, stride=2, padding=1, groups=3, bias=True),
    norm("plain", 2, 3, 4, 3),
    norm("rank 2, rectified", 5, 4, activation=1),
    norm("residual", 2, 3, 2, 3, residual=True),
    norm("residual, rectified", 2, 3, 4, 3, activation=1, residual=True),
    norm("residual, rectified, two gradients", 3, 2, 3, 2, activation=1, residual=True, second=True),
    pool("3x3 with stride 2, padding 1", "max_pool", 2, 7, 6, 2, (3, 3), (2, 2), (1, 1)),
    pool("2x3, ceil", "max_pool", 1, 7, 8, 2, (2, 3), (2, 2), (0, 1), ceil=True),
    pool("2x2 with stride 3, padding 1, ceil: a dropped window", "max_pool", 1, 6, 9, 2, (2, 2), (3, 3), (1, 1), ceil=True),
    pool("3x3 with stride 2, padding 1", "average_pool", 2, 7, 6, 2, (3, 3), (2, 2), (1, 1)),
    pool("3x3 with stride 2, padding 1, counted", "average_pool", 2, 7, 6, 2, (3, 3), (2, 2), (1, 1), counted=True),
    pool("3x3 with stride 2, padding 1, ceil", "average_pool", 1, 6, 8, 2, (3, 3), (2, 2), (1, 1), ceil=True),
    pool("3x3 with stride 2, padding 1, ceil, counted", "average_pool", 1, 6, 8, 2, (3, 3), (2, 2), (1, 1), ceil=True, counted=True),
    pool("4x3 with stride 3, ceil, counted", "average_pool", 1, 9, 8, 2, (4, 3), (3, 3), (2, 1), ceil=True, counted=True),
    pool("global", "adaptive_average_pool", 2, 3, 5, 2, output=(1, 1)),
    pool("windows overlap", "adaptive_average_pool", 1, 7, 5, 2, output=(3, 2)),
    pool("larger than the input", "adaptive_average_pool", 1, 3, 2, 2, output=(4, 7)),
    linear("bias", (3, 5), 4, True),
    linear("no bias", (2, 7), 3, False),
    cross_entropy("scale 1", 6, 4, 1.0, 1),
    cross_entropy("scale 0.3, large logits", 7, 5, 0.3, 100),
    sgd("plain", 0, 0, False),
    sgd("momentum and decay", 0.9, 0.05, False),
    sgd("Nesterov and decay", 0.9, 0.05, True),
    norm("at most 6", 3, 4, 3, 2, activation=2, scale=8),
    norm("residual, at most 6, two gradients", 2, 4, 3, 3, activation=2, residual=True, second=True, scale=8),
    norm("SiLU", 2, 3, 4, 3, activation=3),
    norm("SiLU, rank 2", 6, 4, activation=3, scale=4),
    norm("hardswish", 2, 3, 4, 3, activation=4, scale=4),
    conv("3x3, dilation 2, bias", 2, 7, 6, 3, 4, 3, 3, padding=2, bias=True, dilation=2),
    conv("depthwise with stride 2, dilation 3", 1, 9, 8, 3, 3, 3, 2, stride=2, padding=1, groups=3, dilation=3),
    linear("rows of a map, bias", (2, 3, 2, 5), 4, True, rows=True),
    linear("rows of three dimensions", (2, 3, 5), 4, False, rows=True),
    activation("hardswish", 4, 3, 20),
    activation("hardsigmoid", 5, 3, 20),
    activation("sigmoid", 6, 3, 20),
    activation("GELU", 7, 3, 20),
    activation("GELU by the tangent", 8, 3, 20),
    layer_norm("of a map", 2, 3, 2, 5),
    layer_norm("of rows", 4, 17),
    gate("sigmoid", 6, 3, 4, 3, 5),
    gate("hardsigmoid", 5, 3, 4, 3, 5),
    gate("none", 0, 3, 4, 3, 5),
    scale("of a map", 2, 3, 2, 5),
    scale("of rows", 4, 7),
]

lines = ",\n".join(json.dumps(c) for c in cases)
head = '{"command": "python3 core/reference/testdata/pytorch.py", "torch": "%s", "cases": [\n' % torch.__version__
Path(__file__).with_suffix(".json").write_text(head + lines + "\n]}\n")
