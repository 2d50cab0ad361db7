#!/usr/bin/env python3
"""Writes optimizers.json beside this script: ten steps of PyTorch's optimizers in float64.

    python3 core/reference/testdata/optimizers.py

All cases have the same start, gradients and learning rates relative to the first; each has the parameter after every step and
the optimizer's state after the last. Numbers that go in are multiples of 1/1024, so that f32 holds them exactly.
"""

import json
from pathlib import Path

import torch

ELEMENTS, STEPS = 6, 10
torch.manual_seed(1)
torch.set_default_dtype(torch.float64)


def draw(*shape):
    return (torch.randn(*shape) * 1024).round() / 1024


start, gradients = draw(ELEMENTS), draw(STEPS, ELEMENTS)
gradients[:, 0] = 0  # a parameter without gradients: only weight decay moves it
schedule = [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]


def case(name, optimizer, lr, **options):
    w = start.clone().requires_grad_()
    o = optimizer([w], lr=lr, foreach=False, **options)
    after = []
    for g, part in zip(gradients, schedule):
        o.param_groups[0]["lr"] = lr * part
        w.grad = g.clone()
        o.step()
        after.append(w.detach().tolist())
    state = {k: v.tolist() for k, v in o.state[w].items() if torch.is_tensor(v) and v.shape == w.shape}
    return {"name": name, "lr": lr, "options": options, "after": after, "state": state}


SGD, Adam, AdamW, RMSprop, Adagrad = (getattr(torch.optim, n) for n in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad"))
cases = [
    case("sgd", SGD, 0.125),
    case("sgd", SGD, 0.125, weight_decay=0.125),
    case("sgd", SGD, 0.125, momentum=0.875, weight_decay=0.125),
    case("sgd", SGD, 0.125, momentum=0.875, weight_decay=0.125, nesterov=True),
    case("adam", Adam, 0.125, betas=(0.9, 0.999), eps=1e-8),
    case("adam", Adam, 0.125, betas=(0.75, 0.96875), eps=0.0625, weight_decay=0.125),
    case("adamw", AdamW, 0.125, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01),
    case("adamw", AdamW, 0.125, betas=(0.75, 0.96875), eps=0.0625, weight_decay=0.5),
    case("rmsprop", RMSprop, 0.125, alpha=0.99, eps=1e-8),
    case("rmsprop", RMSprop, 0.125, alpha=0.875, eps=0.0625, weight_decay=0.125),
    case("rmsprop", RMSprop, 0.125, alpha=0.875, eps=0.0625, weight_decay=0.125, momentum=0.875),
    case("adagrad", Adagrad, 0.125, eps=1e-10),
    case("adagrad", Adagrad, 0.125, eps=0.0625, weight_decay=0.125),
]
golden = {"torch": torch.__version__, "start": start.tolist(), "gradients": gradients.tolist(), "schedule": schedule, "cases": cases}
golden = json.loads(json.dumps(golden), parse_float=lambda t: float(f"{float(t):.12g}"))
rows = ",\n  ".join(json.dumps(c) for c in golden.pop("cases"))
text = json.dumps(golden)[:-1] + ',\n "cases": [\n  ' + rows + "\n ]}\n"
Path(__file__).with_name("optimizers.json").write_text(text)
