#!/usr/bin/env python3
"""Measures the live tensor bytes of real training steps in PyTorch on the CPU.

    python3 core/eager/testdata/make_peaks.py        # writes peaks.json beside this script

The second step of each method is run under a dispatch mode that sees the results
of every operator, forward and backward, and holds a weak reference to each
storage. The peak is the largest sum of storages alive after an operator, with
parameters, buffers, momentum and the batch. Gradients are dropped before the step
(set_to_none). What kernels allocate for themselves, such as oneDNN's copies in
its own layouts, is not seen. `eager_test.go` holds the model of this package
against these figures.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "methods" / "testdata"))
import localnets  # noqa: E402

NETWORK = "resnet32"
BATCH = 64
METHODS = ("bp", "dgl", "predsim", "infopro", "auglocal")


class LiveBytes(TorchDispatchMode):
    """Sums the storages alive after each operator."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def watch(self, tensors: Iterable[Any]) -> None:
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor) and tensor.numel() > 0:
                storage = tensor.storage()
                weak = StorageWeakRef(storage)
                self.storages[weak.cdata] = (weak, storage.nbytes())
        self.storages = {k: v for k, v in self.storages.items() if not v[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.storages.values()))

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):  # noqa: ANN
        result = operator(*args, **(kwargs or {}))
        self.watch(tree_flatten(result)[0])
        return result


def make_batch() -> localnets.Batch:
    torch.manual_seed(1)
    side = localnets.IMAGE_SIDE
    images = torch.rand(BATCH, 3, side, side)
    labels = torch.randint(localnets.CLASSES, (BATCH,))
    return localnets.Batch((images - 0.5) / 0.25, images, labels)


def step(model, optimizer, batch) -> None:
    for _ in localnets.forward_backward(model, batch):
        pass
    optimizer.step()


def peak(method: str) -> dict[str, int]:
    spec = localnets.Spec(NETWORK, method, aux_depth=2 if method == "auglocal" else 0)
    model = localnets.LocalNet(spec)
    localnets.initialise(model, 1)
    model.train()
    optimizer = localnets.make_optimizer(model, 0.01)
    batch = make_batch()
    step(model, optimizer, batch)
    optimizer.zero_grad(set_to_none=True)
    momentum = [s["momentum_buffer"] for s in optimizer.state.values()]
    inputs = [batch.inputs, batch.images, batch.labels]
    live = LiveBytes()
    live.watch([*model.parameters(), *model.buffers(), *momentum, *inputs])
    before = live.peak
    with live:
        step(model, optimizer, batch)
    return {"before": before, "peak": live.peak}


def main() -> None:
    torch.set_num_threads(1)
    document = {
        "command": "python3 core/eager/testdata/make_peaks.py",
        "torch": torch.__version__,
        "network": NETWORK,
        "batch": BATCH,
        "methods": {method: peak(method) for method in METHODS},
    }
    path = Path(__file__).with_name("peaks.json")
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
