#!/usr/bin/env python3
"""Writes golden training traces, `golden_<case>.json`, beside this script.

    python3 methods/testdata/make_golden.py                 # every case
    python3 methods/testdata/make_golden.py resnet32_bp     # some cases
    python3 methods/testdata/make_golden.py --check         # only the checks

A trace is a few steps of an optimizer on made batches. Both run twice from the same
float32 parameters and inputs: in float32, and in float64 (suffix `64`) as the
truth that float32 is judged by. The difference of the two says which tolerance
means something.

One JSON object a file:

    command, torch, threads   where the file is from
    case                      network, method and its options, seed, rates
    parameter_count           auxiliary parameters included
    batches                   per step: sum of the raw pixels (exact), sum of
                              the normalised inputs, labels
    modules                   per module: its units, the factors of its loss
                              terms, for AugLocal the copied units and strides
    steps                     per step, per module: terms (unweighted), loss
                              (weighted), terms64, loss64; all before the update
    parameters                per parameter: name, shape (OIHW or [out, in]),
                              and pairs [sum, sum of absolute values]: initial,
                              gradient64 (of the first step, without weight
                              decay), final, final64
    running                   per BN layer: final sums of running mean and variance
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import localnets
import numpy as np
import torch
from localnets import Batch, LocalNet, Spec, forward_backward, initialise, make_optimizer
from torch import Tensor

Document = dict[str, Any]

SEED = 1
BATCH = 32
LEARNING_RATE = 0.002
"""Small, so that a trace says something after ten steps.

A rounding error in a weight flips the sign of a few activations, and every
step multiplies that. ResNet-32 under BP differs from float64 by up to 3e-2 of
its loss at 0.05, by 2e-3 at 0.002; AugLocal with d = 2 by 2e-4 and 4e-7 (this
script, 2-core Xeon, November 2026). A momentum of 0.89 for 0.9, a fault to be
found, moves AugLocal by 3e-3 at both rates.
"""
THREADS = 2

PURPOSE_LABEL, PURPOSE_NOISE, PURPOSE_PATTERN = 100, 101, 102
MEAN = np.array([125.3, 123.0, 113.9], np.float32)
STD = np.array([63.0, 62.1, 66.7], np.float32)


@dataclass(frozen=True)
class Case:
    name: str
    spec: Spec
    steps: int = 10
    weight_decay: float = 1e-4
    optimizer: str = ""
    """Of OPTIMIZERS; empty: SGD with Nesterov momentum 0.9 and the weight decay."""
    learning_rate: float = LEARNING_RATE


OPTIMIZERS = {
    "adamw": (torch.optim.AdamW, {"betas": (0.9, 0.999), "eps": 1e-3, "weight_decay": 0.05}),
    "rmsprop": (torch.optim.RMSprop, {"alpha": 0.99, "eps": 1e-2, "momentum": 0.5, "weight_decay": 1e-4}),
}
"""The epsilons are large, and the rates of their cases small: divided by the root of a small average, a gradient's rounding
error would be a step of full size."""


CASES = [
    Case("resnet32_bp", Spec("resnet32", "bp", modules=1)),
    Case("resnet32_auglocal_d2", Spec("resnet32", "auglocal", modules=16, aux_depth=2)),
    # A decay large enough to see: 1e-4 moves no loss by more than rounding does.
    Case(
        "resnet32_auglocal_d2_decay",
        Spec("resnet32", "auglocal", modules=16, aux_depth=2),
        5,
        weight_decay=0.05,
    ),
    Case("resnet32_auglocal_d5", Spec("resnet32", "auglocal", modules=16, aux_depth=5), steps=3),
    Case("resnet32_dgl", Spec("resnet32", "dgl", modules=16)),
    Case("resnet32_predsim", Spec("resnet32", "predsim", modules=16)),
    Case("resnet32_infopro_softmax", Spec("resnet32", "infopro", modules=16)),
    Case("resnet32_infopro_contrast_k4", Spec("resnet32", "infopro", modules=4, mode="contrast")),
    Case("resnet32_man", Spec("resnet32", "man", modules=16)),
    Case("resnet32_man_program_k4", Spec("resnet32", "man", modules=4, program=True), steps=2),
    Case("resnet32_dgl_k4_adamw", Spec("resnet32", "dgl", modules=4), optimizer="adamw", learning_rate=1e-4),
    Case("resnet32_dgl_k4_rmsprop", Spec("resnet32", "dgl", modules=4), optimizer="rmsprop", learning_rate=2e-5),
    Case("resnet110_dgl", Spec("resnet110", "dgl", modules=55), steps=3),
    Case("resnet110_auglocal_d3", Spec("resnet110", "auglocal", modules=55, aux_depth=3), steps=3),
]

PUBLISHED_PARAMETERS = {
    Spec("resnet32", "bp"): 466_906,
    Spec("resnet32", "auglocal", aux_depth=2): 1_807_964,
    Spec("resnet32", "auglocal", aux_depth=3): 1_978_514,
    Spec("resnet32", "auglocal", aux_depth=5): 2_151_294,
    Spec("resnet32", "dgl"): 1_305_200,
    Spec("resnet32", "infopro"): 916_021,
    Spec("resnet32", "infopro", modules=4, mode="contrast"): 610_715,
    Spec("resnet32", "infopro", modules=8, mode="contrast"): 782_023,
    Spec("resnet110", "infopro", modules=4, mode="contrast"): 1_874_523,
    Spec("resnet32", "predsim"): 751_216,
}
"""All parameters, auxiliary ones included, as the authors' programs have them.

InfoPro's contrast with K = 8 is what its program has with the head `1c1f`,
666,439, and a linear layer of 128 to 128 in each of seven heads.
"""

MAN_PROGRAM_PARAMETERS = 2_274_624
"""Of ResNet-32, K = 16, in MAN's program: those in use, the averages included."""


# --------------------------------------------------------------------------
# Checks
# --------------------------------------------------------------------------


def require(condition: bool, message: str) -> None:
    if not condition:
        sys.exit(f"make_golden: {message}")


def check_random_numbers() -> None:
    """Known answers of the Random123 distribution (`kat_vectors`, philox4x32 10)."""
    ones = 0xFFFFFFFF
    answers = [
        ([0] * 4, (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([ones] * 4, (ones, ones), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ]
    for counter, key, want in answers:
        words = localnets.philox4x32(np.array([counter]), key)[0]
        got = " ".join(f"{word:08x}" for word in words)
        require(got == want, f"philox: counter {counter}: got {got}, want {want}")
    require(localnets.fnv1a32("foobar") == 0xBF9CF968, "fnv1a32: wrong for 'foobar'")


def check_parameters() -> None:
    for spec, want in PUBLISHED_PARAMETERS.items():
        got = LocalNet(spec).parameter_count()
        require(got == want, f"{spec}: got {got} parameters, want {want}")
    man = LocalNet(Spec("resnet32", "man", modules=16, program=True))
    got = sum(p.numel() for p in man.parameters())
    require(got == MAN_PROGRAM_PARAMETERS, f"MAN's program: got {got} parameters")


def check_isolation() -> None:
    """A module's loss reaches all of its own parameters and no others."""
    for case in CASES:
        if case.spec.network == "resnet32":
            strays = stray_gradients(LocalNet(case.spec))
            require(not strays, f"{case.name}: gradients leak or are missing: {sorted(strays)}")
    planted = LocalNet(Spec("resnet32", "dgl"))
    planted.local_modules[1] = replace(planted.local_modules[1], auxiliary=planted.aux[2])
    require(bool(stray_gradients(planted)), "the isolation check misses a planted fault")


def stray_gradients(model: LocalNet) -> set[str]:
    """Parameters whose gradient a module set but should not have, or the reverse."""
    strays = set()
    for index, _ in enumerate(forward_backward(model, make_batch(0, torch.float32))):
        reached = {name for name, p in model.named_parameters() if p.grad is not None}
        strays |= reached ^ module_parameters(model, index)
        model.zero_grad(set_to_none=True)
    return strays


def module_parameters(model: LocalNet, index: int) -> set[str]:
    """Names of the parameters that the loss of module `index` trains."""
    prefixes = [f"aux.{index}."]
    for unit in model.local_modules[index].units:
        stage, block = divmod(unit - 1, len(model.layer1))
        prefixes += ["conv1.", "bn1."] if unit == 0 else [f"layer{stage + 1}.{block}."]
    if index == len(model.local_modules) - 1:
        prefixes.append("fc.")
    return {
        name
        for name, p in model.named_parameters()
        if p.requires_grad and name.startswith(tuple(prefixes))
    }


# --------------------------------------------------------------------------
# Batches
# --------------------------------------------------------------------------


def make_pixels(step: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, H, W, 3], half noise and half a pattern of the class, and labels."""
    side = localnets.IMAGE_SIDE
    elements = side * side * 3
    labels = localnets.random_words(SEED, PURPOSE_LABEL, step, BATCH) % localnets.CLASSES
    noise = localnets.random_bytes(SEED, PURPOSE_NOISE, step, BATCH * elements)
    patterns = np.stack(
        [
            localnets.random_bytes(SEED, PURPOSE_PATTERN, c, elements)
            for c in range(localnets.CLASSES)
        ]
    )
    pixels = noise.reshape(BATCH, elements) // 2 + patterns[labels] // 2
    return pixels.reshape(BATCH, side, side, 3), labels.astype(np.int64)


def make_batch(step: int, dtype: torch.dtype) -> Batch:
    """Inputs are rounded to float32 before they are cast to `dtype`."""
    pixels, labels = make_pixels(step)
    as_float = pixels.astype(np.float32)

    def tensor(nhwc: np.ndarray) -> Tensor:
        return torch.from_numpy(nhwc.transpose(0, 3, 1, 2).copy()).to(dtype)

    return Batch(
        tensor((as_float - MEAN) / STD),
        tensor(as_float / np.float32(255)),
        torch.from_numpy(labels),
    )


# --------------------------------------------------------------------------
# Traces
# --------------------------------------------------------------------------

Sums = tuple[float, float]


def sums(tensor: Tensor) -> Sums:
    """Sum and sum of absolute values, in float64."""
    wide = tensor.detach().double()
    return wide.sum().item(), wide.abs().sum().item()


@dataclass(frozen=True)
class Trace:
    steps: list[list[tuple[dict[str, float], float]]]
    """Per step, per module: (terms, loss)."""
    initial: dict[str, Sums]
    gradient: dict[str, Sums]
    final: dict[str, Sums]
    running: dict[str, tuple[float, float]]
    """Sums of the running mean and of the running variance by BN layer."""


def train(case: Case, dtype: torch.dtype) -> tuple[LocalNet, Trace]:
    model = LocalNet(case.spec)
    initialise(model, SEED)
    model.to(dtype).train()
    if case.optimizer:
        make, options = OPTIMIZERS[case.optimizer]
        optimizer = make([p for p in model.parameters() if p.requires_grad], lr=case.learning_rate, **options)
    else:
        optimizer = make_optimizer(model, case.learning_rate, case.weight_decay)

    def by_name(value: Callable[[torch.nn.Parameter], Tensor]) -> dict[str, Sums]:
        return {name: sums(value(p)) for name, p in model.named_parameters()}

    initial, gradient, steps = by_name(lambda p: p), {}, []
    for step in range(case.steps):
        optimizer.zero_grad(set_to_none=True)
        losses = [
            ({name: term.item() for name, term in loss.terms.items()}, loss.total.item())
            for loss in forward_backward(model, make_batch(step, dtype))
        ]
        steps.append(losses)
        if step == 0:
            gradient = by_name(lambda p: p.grad if p.requires_grad else torch.zeros_like(p))
        optimizer.step()
    running = {
        name: (sums(m.running_mean)[0], sums(m.running_var)[0])
        for name, m in model.named_modules()
        if hasattr(m, "running_mean")
    }
    return model, Trace(steps, initial, gradient, by_name(lambda p: p), running)


def describe_optimizer(case: Case) -> Document:
    if case.optimizer:
        return {"optimizer": case.optimizer, **OPTIMIZERS[case.optimizer][1]}
    return {"momentum": 0.9, "nesterov": True, "weight_decay": case.weight_decay}


def document(case: Case) -> Document:
    model, trace = train(case, torch.float32)
    _, truth = train(case, torch.float64)
    # The deep network has 1,253 parameters: every tenth says as much, in a tenth of the file.
    kept = 10 if case.spec.network == "resnet110" else 1
    return {
        "command": f"python3 methods/testdata/make_golden.py {case.name}",
        "torch": torch.__version__,
        "threads": THREADS,
        "case": {
            "name": case.name,
            **{key: value for key, value in asdict(case.spec).items() if value is not False},
            "classes": localnets.CLASSES,
            "batch": BATCH,
            "steps": case.steps,
            "seed": SEED,
            "learning_rate": case.learning_rate,
            **describe_optimizer(case),
        },
        "parameter_count": model.parameter_count(),
        "batches": [describe_batch(step) for step in range(case.steps)],
        "modules": [describe_module(module) for module in model.local_modules],
        "steps": [
            [
                {"terms": terms, "loss": loss, "terms64": terms64, "loss64": loss64}
                for (terms, loss), (terms64, loss64) in zip(step, step64, strict=True)
            ]
            for step, step64 in zip(trace.steps, truth.steps, strict=True)
        ],
        "parameters": [
            {
                "name": name,
                "shape": list(parameter.shape),
                "initial": trace.initial[name],
                "gradient64": truth.gradient[name],
                "final": trace.final[name],
                "final64": truth.final[name],
            }
            for name, parameter in model.named_parameters()
        ][::kept],
        "running": [
            {
                "name": name,
                "mean": mean,
                "variance": variance,
                "mean64": truth.running[name][0],
                "variance64": truth.running[name][1],
            }
            for name, (mean, variance) in trace.running.items()
        ][::kept],
    }


def describe_batch(step: int) -> Document:
    pixels, labels = make_pixels(step)
    inputs = make_batch(step, torch.float32).inputs
    return {
        "pixel_sum": int(pixels.sum(dtype=np.int64)),
        "input_sum": sums(inputs)[0],
        "labels": labels.tolist(),
    }


def describe_module(module: localnets.Module) -> Document:
    first, last = module.units[0], module.units[-1]
    description: Document = {"first_unit": first, "last_unit": last}
    description["weights"] = (
        module.auxiliary.weights if module.auxiliary else {"classification": 1.0}
    )
    if isinstance(module.auxiliary, localnets.AugLocalAuxiliary):
        description["auxiliary_units"] = module.chosen
        description["auxiliary_strides"] = module.auxiliary.strides
    return description


def write(path: Path, content: Document) -> None:
    """Writes beside `path` and renames; one line an element of the long lists."""
    lines = []
    for key, value in content.items():
        if key == "steps":
            rows = ",\n  ".join(
                "[\n   " + ",\n   ".join(json.dumps(module) for module in step) + "]"
                for step in value
            )
        elif isinstance(value, list):
            rows = ",\n  ".join(json.dumps(row) for row in value)
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
            continue
        lines.append(f" {json.dumps(key)}: [\n  {rows}]")
    beside = path.with_suffix(".tmp")
    beside.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    os.replace(beside, path)


def drift(content: Document, step: int) -> float:
    """Largest relative difference of float32 and float64 losses in a step, but for those of weight 0."""
    losses = ((m["loss"], m["loss64"]) for m in content["steps"][step])
    differences = (abs(loss - loss64) / abs(loss64) for loss, loss64 in losses if loss64)
    return float(max(differences))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "cases",
        nargs="*",
        metavar="case",
        help="default: all of " + " ".join(c.name for c in CASES),
    )
    parser.add_argument(
        "--check", action="store_true", help="only check random numbers, counts and isolation"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.cases) - {case.name for case in CASES}
    require(not unknown, f"unknown case: {' '.join(sorted(unknown))}")

    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    check_random_numbers()
    check_parameters()
    check_isolation()
    if arguments.check:
        return
    for case in CASES:
        if arguments.cases and case.name not in arguments.cases:
            continue
        content = document(case)
        write(Path(__file__).parent / f"golden_{case.name}.json", content)
        last = content["steps"][-1][-1]
        print(
            f"{case.name}: {content['parameter_count']} parameters,"
            f" head loss {content['steps'][0][-1]['loss']:.6f} -> {last['loss']:.6f},"
            " drift " + " ".join(f"{drift(content, step):.0e}" for step in range(case.steps)),
            flush=True,
        )


if __name__ == "__main__":
    main()
