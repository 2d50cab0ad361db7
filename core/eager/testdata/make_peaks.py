#!/usr/bin/env python3
"""Writes peaks.json: the memory peaks of real training steps in PyTorch, without a GPU.

    python3 core/eager/testdata/make_peaks.py                    # all rows, into peaks.json beside this script
    python3 core/eager/testdata/make_peaks.py --live bp,resnet18,224,32   # print what is alive at one row's peak

The programs are localnets.py's (the CIFAR ResNets under every method) and torchvision's, on device `meta`: autograd,
the optimizer and checkpointing are PyTorch's own, no kernel runs. A dispatch mode sees the results of every operator,
forward and backward, and follows their storages by weak reference. What is allocated and freed goes through a replay of
CUDA's caching allocator (class Allocator, after c10/cuda/CUDACachingAllocator.cpp) that begins with the parameters and
plays two steps: the first makes the optimizer's state. The peaks are those of the second step; `first` is that of the first.

Two things differ between `meta` under a dispatch mode and CUDA without one, and are corrected:

- Autograd sums gradients that meet in place if the first has no other reference, and never in place under a dispatch mode.
  Here a sum is computed in place of its first operand if that is dead when the next operator begins.
- Dropout is `native_dropout` on CUDA only: a mask of one byte an element.

An optimizer's temporaries are those of its multi-tensor implementation (foreach), which is the default on CUDA, or of the
others. No fused implementation runs on `meta`: such rows run on the cpu. The number of the step is a tensor on the cpu and is
not counted; fused Adam has it on the device.

Not seen: workspaces of cuDNN and cuBLAS, and what a kernel allocates for itself.
"""

from __future__ import annotations

import argparse
import bisect
import collections
import functools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "methods" / "testdata"), str(ROOT / "suite" / "networks" / "testdata")]
import localnets  # noqa: E402
import torchvision_networks  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
CIFAR = {"resnet20": 3, "resnet32": 5, "resnet110": 18}
localnets.BLOCKS_PER_STAGE.update(CIFAR)
# Networks that the model reads from files of torch.export.
EXPORTED = {"densenet121": {}, "googlenet": {"aux_logits": False, "transform_input": False, "init_weights": False},
            "squeezenet1_1": {}, "shufflenet_v2_x1_0": {}}


class Allocator:
    """CUDA's caching allocator of one stream, without a limit."""

    def __init__(self) -> None:
        self.free_blocks: dict[bool, list[tuple[int, int]]] = {True: [], False: []}  # by pool: (bytes, address)
        self.neighbours: dict[int, list] = {}  # address: [bytes, is free, is small, address before, address after]
        self.allocated = self.reserved = self.top = 0

    def allocate(self, size: int) -> int:
        size = max(-(-size // 512) * 512, 512)
        small = size <= MIB
        pool = self.free_blocks[small]
        at = bisect.bisect_left(pool, (size, -1))
        if at < len(pool):
            total, address = pool.pop(at)
        else:
            total = 2 * MIB if small else 20 * MIB if size < 10 * MIB else -(-size // (2 * MIB)) * 2 * MIB
            address, self.top = self.top, self.top + total
            self.reserved += total
            self.neighbours[address] = [total, True, small, None, None]
        block = self.neighbours[address]
        rest = total - size
        if rest >= 512 if small else rest > MIB:
            after = block[4]
            self.neighbours[address + size] = [rest, True, small, address, after]
            if after is not None:
                self.neighbours[after][3] = address + size
            block[0], block[4] = size, address + size
            bisect.insort(pool, (rest, address + size))
        block[1] = False
        self.allocated += block[0]
        return address

    def free(self, address: int) -> None:
        block = self.neighbours[address]
        self.allocated -= block[0]
        block[1] = True
        pool = self.free_blocks[block[2]]
        if block[3] is not None and self.neighbours[block[3]][1]:
            address = self._merge(block[3], address, pool, keep_left=True)
        after = self.neighbours[address][4]
        if after is not None and self.neighbours[after][1]:
            address = self._merge(address, after, pool, keep_left=False)
        bisect.insort(pool, (self.neighbours[address][0], address))

    def _merge(self, left: int, right: int, pool: list, keep_left: bool) -> int:
        free = left if keep_left else right  # the one that lies in the pool
        pool.remove((self.neighbours[free][0], free))
        gone = self.neighbours.pop(right)
        self.neighbours[left][0] += gone[0]
        self.neighbours[left][4] = gone[4]
        if gone[4] is not None:
            self.neighbours[gone[4]][3] = left
        return left


class Live(TorchDispatchMode):
    """Follows every storage, and plays the allocator."""

    def __init__(self) -> None:
        super().__init__()
        self.allocator = Allocator()
        self.storages: dict[int, tuple[StorageWeakRef, int, int, str]] = {}  # weak reference, bytes, address, maker
        self.state: dict[int, tuple[StorageWeakRef, int, int, str]] = {}  # of those, what outlives the steps
        self.requested = 0
        self.pending: tuple[Any, Any] | None = None  # first operand and result of a sum of gradients
        self.pending_bytes = 0
        self.in_backward = False
        self.device = torch.device("meta")
        self.keep_live = False  # list what is alive at the peak
        self.events: list[tuple[str, str, int]] = []
        self.reset()

    def reset(self) -> None:
        self.peak = {"requested": 0, "allocated": 0, "op": "", "live": []}

    def scan(self) -> None:
        for key in [k for k, v in self.storages.items() if v[0].expired()]:
            _, size, address, maker = self.storages.pop(key)
            self.allocator.free(address)
            self.requested -= size
            self.events.append(("-", maker, size))

    def settle_state(self, optimizer: torch.optim.Optimizer) -> None:
        """Parameters and the optimizer's state are not looked at again: they stay."""
        made = [t for s in optimizer.state.values() for t in s.values() if isinstance(t, torch.Tensor)]
        keys = {StorageWeakRef(t.untyped_storage()).cdata for t in made}
        stay = {k: v for k, v in self.storages.items() if v[3] == "state" or k in keys}
        self.state.update(stay)
        for key in stay:
            del self.storages[key]

    def settle(self) -> None:
        """Decides whether the last sum of gradients went in place."""
        if self.pending is None:
            return
        left, right = self.pending
        self.pending = None
        if left in self.storages and self.storages[left][0].expired():
            _, size, address, maker = self.storages.pop(left)
            self.storages[right.cdata] = (right, size, address, maker + "+")
        elif not right.expired():
            self.hold(right, self.pending_bytes, "aten.add.Tensor")
        self.mark("aten.add.Tensor")

    def hold(self, weak: StorageWeakRef, size: int, maker: str) -> None:
        if size == 0 or weak.cdata in self.storages or weak.cdata in self.state:
            return
        self.storages[weak.cdata] = (weak, size, self.allocator.allocate(size), maker)
        self.requested += size
        self.events.append(("+", maker, size))

    def mark(self, op: str) -> None:
        p = self.peak
        p["requested"] = max(p["requested"], self.requested)
        if self.allocator.allocated > p["allocated"]:
            p["allocated"], p["op"] = self.allocator.allocated, op
            if self.keep_live:
                p["live"] = sorted(((v[1], v[3]) for v in [*self.storages.values(), *self.state.values()]), reverse=True)

    def watch(self, tensors, maker: str) -> None:
        for t in tensors:
            if isinstance(t, torch.Tensor) and t.device == self.device:
                storage = t.untyped_storage()
                self.hold(StorageWeakRef(storage), storage.nbytes(), maker)
                del storage
        self.mark(maker)

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):  # noqa: ANN
        self.settle()
        self.scan()
        self.mark("scan")
        result = operator(*args, **(kwargs or {}))
        name = str(operator)
        if self.in_backward and name == "aten.add.Tensor":
            left, right = args[0].untyped_storage(), result.untyped_storage()
            self.pending = (StorageWeakRef(left).cdata, StorageWeakRef(right))
            self.pending_bytes = right.nbytes()
            return result
        self.watch(tree_flatten(result)[0], name)
        return result


def native_dropout(x, p=0.5, training=True, inplace=False):  # noqa: ANN
    if not training or p == 0:
        return x
    return torch.native_dropout(x, p, True)[0]


def torchvision_step(net: nn.Module, batch: localnets.Batch) -> Iterator[None]:
    yield nn.functional.cross_entropy(net(batch.inputs), batch.labels).backward()


def local_step(net: nn.Module, batch: localnets.Batch) -> Iterator[None]:
    yield from localnets.forward_backward(net, batch)


def run(method: str, network: str, side: int, batch: int, **options) -> dict:
    live = Live()
    live.keep_live = options.pop("live", False)
    make_optimizer = OPTIMIZERS[options.pop("optimizer", "") or "sgd"]
    options = {"set_to_none": True, "foreach": True, "fused": False, "reentrant": False, "zero_grad": "start", "images": 1} | options
    device = "cpu" if options["fused"] else "meta"
    live.device = torch.device(device)
    nn.functional.dropout = native_dropout
    real_checkpoint = torch.utils.checkpoint.checkpoint
    reentrant = options["reentrant"]
    localnets.checkpoint = lambda f, *a: real_checkpoint(f, *a, use_reentrant=reentrant, preserve_rng_state=False)
    torch.manual_seed(1)
    if network not in CIFAR:  # RegNet's constructor computes with tensors
        classes = 1000 if side >= 128 else 10
        if network in EXPORTED:
            net = torchvision.models.get_model(network, num_classes=classes, **EXPORTED[network]).to(device)
        else:
            net = (torchvision_networks.make if side >= 128 else torchvision_networks.make_small)(network, classes).to(device)
        step = torchvision_step
    with torch.device(device):
        if network in CIFAR:
            net = localnets.LocalNet(localnets.Spec(network, method, aux_depth=2 if method == "auglocal" else 0))
            step = local_step
        net.train()
        trained = [p for p in net.parameters() if p.requires_grad]
        implementation = {"fused": True} if options["fused"] else {"foreach": options["foreach"]}
        live.watch([*net.parameters(), *net.buffers()], "state")
        with live, torch.device("cpu"):  # where it is not told otherwise; Adagrad makes its state here
            optimizer = make_optimizer(trained, **implementation)
        live.settle_state(optimizer)
        inputs = torch.zeros(batch, 3, side, side)
        images = torch.empty_like(inputs) if options["images"] == 2 else inputs
        data = localnets.Batch(inputs, images, torch.zeros(batch, dtype=torch.int64))
        live.watch([inputs, images, data.labels], "batch")
        original = torch.Tensor.backward

        def backward(self, *args, **kwargs):  # noqa: ANN
            if options["zero_grad"] == "mid":
                optimizer.zero_grad(set_to_none=options["set_to_none"])
            live.in_backward = True
            try:
                return original(self, *args, **kwargs)
            finally:
                live.in_backward = False

        torch.Tensor.backward = backward
        peaks = []
        try:
            with live:
                for _ in range(2):
                    live.reset()
                    live.events.clear()
                    if options["zero_grad"] == "start":
                        optimizer.zero_grad(set_to_none=options["set_to_none"])
                    inputs.grad = None  # of checkpoint; a program has other images in each step
                    for _ in step(net, data):
                        pass
                    live.settle()
                    live.scan()
                    with torch.device("cpu"):
                        optimizer.step()
                    live.scan()
                    live.settle_state(optimizer)
                    peaks.append(live.peak | {"reserved": live.allocator.reserved})
        finally:
            torch.Tensor.backward = original
    first, second = peaks
    out = {"method": method, "network": network, "side": side, "batch": batch} | options
    out |= {k: second[k] for k in ("requested", "allocated", "reserved")} | {"first": first["allocated"], "op": second["op"]}
    if live.keep_live:
        out["live"], out["events"] = second["live"], list(live.events)
    return out


OPTIMIZERS = {
    "sgd": functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4),
    "sgd-plain": functools.partial(torch.optim.SGD, lr=0.1),
    "adam": torch.optim.Adam,
    "adam-decay": functools.partial(torch.optim.Adam, weight_decay=1e-4),
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "rmsprop-momentum-decay": functools.partial(torch.optim.RMSprop, momentum=0.9, weight_decay=1e-4),
    "adagrad": torch.optim.Adagrad,
    "adagrad-decay": functools.partial(torch.optim.Adagrad, weight_decay=1e-4),
}

# Method, network, side of the images in pixels, batches, options other than the default ones ("-": none), and the optimizer.
ROWS = """
auglocal resnet110 32 16,128,1024 images=2
auglocal resnet20 32 128 images=2
auglocal resnet32 32 16,128,1024 images=2
auglocal resnet32 32 128 set_to_none=false,images=2
bp efficientnetb0 32 8,128
bp mobilenetv2 32 8,128
bp regnetx400mf 32 8,128
bp resnet101 32 8,128
bp resnet110 32 16,1024 images=2
bp resnet18 32 8,128
bp resnet18 32 128 zero_grad=mid
bp resnet18 32 128 set_to_none=false
bp resnet20 32 16,128,1024 images=2
bp resnet32 32 16,128,1024 images=2
bp resnet32 32 128 set_to_none=false,images=2
bp resnet34 32 128
bp resnet50 32 8,128
bp vgg13 32 8,128
bp vgg13 32 8 foreach=false
bp vgg13 32 8,128 zero_grad=mid
bp efficientnetb0 224 4,32,128
bp mobilenetv2 224 4,32,128
bp regnetx400mf 224 4,32
bp resnet101 224 4,32
bp resnet18 224 4,32,128
bp resnet18 224 4 foreach=false
bp resnet18 224 32 zero_grad=mid
bp resnet18 224 32 set_to_none=false
bp resnet34 224 4,32
bp resnet50 224 4,32,128
bp vgg13 224 4,32,128
bp vgg13 224 4 foreach=false
bp vgg13 224 32 zero_grad=mid
checkpoint resnet110 32 64,1024 images=2
checkpoint resnet110 32 64,1024 reentrant=true,images=2
checkpoint resnet32 32 64,1024 images=2
checkpoint resnet32 32 64,1024 reentrant=true,images=2
dgl resnet110 32 16,128,1024 images=2
dgl resnet20 32 128 images=2
dgl resnet32 32 16,128,1024 images=2
dgl resnet32 32 16 foreach=false,images=2
dgl resnet32 32 128 set_to_none=false,images=2
dgl resnet32 32 128 images=1
infopro resnet110 32 128 images=2
infopro resnet32 32 16,128,1024 images=2
man resnet32 32 128 images=2
predsim resnet32 32 128 images=2
bp resnet18 224 1 - sgd-plain
bp resnet18 224 1 foreach=false sgd-plain
bp resnet18 224 1,32 - adam
bp resnet18 224 1 foreach=false adam
bp resnet18 224 1 - adam-decay
bp resnet18 224 1 foreach=false adam-decay
bp resnet18 224 1,32 - adamw
bp resnet18 224 1 foreach=false adamw
bp resnet18 224 1 - rmsprop
bp resnet18 224 1 foreach=false rmsprop
bp resnet18 224 1 - rmsprop-momentum-decay
bp resnet18 224 1 foreach=false rmsprop-momentum-decay
bp resnet18 224 1 - adagrad
bp resnet18 224 1 foreach=false adagrad
bp resnet18 224 1 - adagrad-decay
bp vgg13 224 1 - adam
bp resnet50 224 1 - adagrad
dgl resnet110 32 16 images=2 adam
auglocal resnet110 32 16 images=2 rmsprop
bp resnet110 32 2 fused=true sgd
bp resnet110 32 2 fused=true adam
bp resnet110 32 2 fused=true adamw
bp densenet121 64 4,64
bp googlenet 64 4,64
bp squeezenet1_1 64 4,64
bp shufflenet_v2_x1_0 64 4,64
"""


KEY = ("method", "network", "side", "batch", "options", "optimizer")


def parse(options: str) -> dict[str, Any]:
    pairs = (o.split("=") for o in options.split(",") if o)
    return {k: {"true": True, "false": False}.get(v, int(v) if v.isdigit() else v) for k, v in pairs}


def table(part: str) -> None:
    """Writes peaks.json, a row a line. With a part of a row's line it measures only such rows, and keeps the others."""
    path = Path(__file__).with_name("peaks.json")
    old = json.loads(path.read_text())["rows"] if part else []
    rows = []
    for line in ROWS.split("\n"):
        method, network, side, batches, options, optimizer = [*line.split(), "", "", "", "", "", ""][:6]
        options = options.removeprefix("-")
        for batch in (b for b in batches.split(",") if b):
            values = [method, network, int(side), int(batch), options, optimizer]
            if part not in line:
                rows += [r for r in old if [r.get(k, "") for k in KEY] == values]
                continue
            row = run(method, network, int(side), int(batch), optimizer=optimizer, **parse(options))
            key = {k: v for k, v in zip(KEY, values) if k != "optimizer" or v}
            rows.append(key | {k: row[k] for k in ("requested", "allocated", "reserved", "first", "op")})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    head = {"command": "python3 core/eager/testdata/make_peaks.py"} | versions
    text = json.dumps(head, indent=1)[:-2] + ',\n "rows": [\n  ' + lines + "\n ]\n}\n"
    path.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--live", metavar="METHOD,NETWORK,SIDE,BATCH[,KEY=VALUE…]", help="print what is alive at a run's peak")
    parser.add_argument("--events", action="store_true", help="with --live: print every allocation of the second step instead")
    parser.add_argument("--only", default="", help="measure only the rows whose line in ROWS contains this")
    arguments = parser.parse_args()
    if not arguments.live:
        table(arguments.only)
        return
    method, network, side, batch, *options = arguments.live.split(",")
    row = run(method, network, int(side), int(batch), live=True, **parse(",".join(options)))
    live, events = row.pop("live"), row.pop("events")
    print(row)
    if arguments.events:
        for e in events:
            print(*e)
        return
    for (size, maker), count in collections.Counter(live).items():
        print(f"{size:>12} x{count:<4} {maker}")


if __name__ == "__main__":
    main()
