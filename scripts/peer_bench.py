#!/usr/bin/env python3
"""Times one training step in PyTorch, the peer of our own step.

    python3 scripts/peer_bench.py --method auglocal --aux-depth 2 --batch 128 --threads 2 --json
    python3 scripts/peer_bench.py --network mobilenetv2 --dataset imagenet --batch 16

One fixed random batch, already normalised; no data loading. Local methods run
backward of a module right after its forward, as the published programs do,
and one optimizer step ends the step. What is done in the peer's favour: ReLU
and the residual sum in place, gradients freed and not zeroed (`set_to_none`),
no loss is read out. Which memory format is faster depends on the method: try
both.

Memory is of the process: the baseline is the resident size after the imports
and a tiny convolution, the peak is VmHWM, reset at the baseline. So the peak
holds parameters, gradients, momentum, activations, and what the allocator and
oneDNN keep.

On a GPU (--device cuda) a step ends when the device has done it; device_step_seconds is the
median between two events on the device, from the step's first work to its last. Memory is
torch.cuda.max_memory_allocated since the warm-up. --precision tf32 lets convolutions
and products round to tf32, bf16 runs the step under autocast; --compile compiles the
network of bp with torch.compile.

With --interactive the script warms up, then obeys standard input, so that a
driver can let two programs take turns:

    run K     runs K steps; prints {"step_seconds": [...], "device_step_seconds": ...,
              "process_peak_bytes": ...}
    quit      prints the summary of all steps so far and ends; so does end of input

The networks for ImageNet are torchvision's, trained by bp.

Needs Python 3.11 and PyTorch 1.13 or later, and for the networks for ImageNet torchvision.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "methods" / "testdata"), str(ROOT / "suite" / "networks" / "testdata")]
import localnets  # noqa: E402

SEED = 1
MEMORY_FORMATS = {
    "channels_last": torch.channels_last,
    "contiguous": torch.contiguous_format,
}
LEARNING_RATE = 0.1
DATASETS = {"cifar10": (localnets.IMAGE_SIDE, localnets.CLASSES), "imagenet": (224, 1000)}
"""Side of the images in pixels, and classes."""


def status_bytes(field: str, device: str) -> int:
    """A size of /proc/self/status, such as VmRSS, in bytes.

    0 on a GPU, where it is not used, or if the system does not report it.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    if device == "cuda":
        return 0
    raise OSError(f"/proc/self/status: no field {field}")


def reset_peak() -> None:
    """Sets VmHWM to the present resident size."""
    Path("/proc/self/clear_refs").write_text("5")


def warm_libraries() -> None:
    """Loads what the first convolution loads, so that it is in the baseline."""
    convolution = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    image = torch.zeros(1, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    convolution(image).sum().backward()


def torchvision_network(name: str, dataset: str) -> nn.Module:
    """A network for ImageNet, in its form for small images where the set has such."""
    import torchvision_networks  # needs torchvision, which nothing else here does

    side, classes = DATASETS[dataset]
    make = torchvision_networks.make if side >= 128 else torchvision_networks.make_small
    try:
        return make(name, classes)
    except AttributeError:
        known = ", ".join(sorted(localnets.BLOCKS_PER_STAGE))
        sys.exit(f"peer_bench: --network: got {name}, want {known} or one of torchvision's")


class Peer:
    """A model, its optimizer and one batch."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        layout = MEMORY_FORMATS[arguments.memory_format]
        self.device = torch.device(arguments.device)
        self.bf16 = arguments.precision == "bf16"
        if arguments.network in localnets.BLOCKS_PER_STAGE:
            spec = localnets.Spec(
                arguments.network, arguments.method, aux_depth=arguments.aux_depth
            )
            self.model: nn.Module = localnets.LocalNet(spec)
            localnets.initialise(self.model, SEED)
            self.modules = len(self.model.local_modules)
        else:
            self.model = torchvision_network(arguments.network, arguments.dataset)
            self.modules = 1
        self.model.to(self.device, memory_format=layout).train()
        self.optimizer = localnets.make_optimizer(self.model, LEARNING_RATE)
        self.batch = self.random_batch(arguments, layout)
        local = isinstance(self.model, localnets.LocalNet)
        self.network = self.run_network if local else self.model
        if arguments.compile:
            self.network = torch.compile(self.network)
        elif local:
            self.network = None
        self.device_seconds: list[float] = []

    def random_batch(
        self, arguments: argparse.Namespace, layout: torch.memory_format
    ) -> localnets.Batch:
        torch.manual_seed(SEED)
        side, classes = DATASETS[arguments.dataset]
        images = torch.rand(arguments.batch, 3, side, side).to(self.device)
        images = images.contiguous(memory_format=layout)
        labels = torch.randint(classes, (arguments.batch,)).to(self.device)
        return localnets.Batch((images - 0.5) / 0.25, images, labels)

    def run_network(self, x: torch.Tensor) -> torch.Tensor:
        for unit in self.model.local_modules[0].units:
            x = self.model.run_unit(unit, x)
        return self.model.run_head(x)

    def forward_backward(self) -> None:
        if self.network is None:
            for _ in localnets.forward_backward(self.model, self.batch):
                pass
            return
        scores = self.network(self.batch.inputs)
        nn.functional.cross_entropy(scores, self.batch.labels).backward()

    def step(self) -> float:
        """One training step; returns its seconds."""
        start = time.perf_counter()
        begin = self.mark()
        self.optimizer.zero_grad(set_to_none=True)
        cast = torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else None
        with cast or contextlib.nullcontext():
            self.forward_backward()
        self.optimizer.step()
        end = self.mark()
        if begin and end:
            end.synchronize()
            self.device_seconds.append(begin.elapsed_time(end) * 1e-3)
        return time.perf_counter() - start

    def mark(self) -> torch.cuda.Event | None:
        """An event in the work of the GPU; None on the CPU."""
        if self.device.type != "cuda":
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def device_median(seconds: list[float]) -> float | None:
    """Median by the device's clock; None where it has none."""
    return statistics.median(seconds) if seconds else None


def summary(
    arguments: argparse.Namespace, peer: Peer, seconds: list[float], baseline: int
) -> dict[str, Any]:
    peak = status_bytes("VmHWM", arguments.device)
    median = statistics.median(seconds) if seconds else None
    return {
        "method": arguments.method,
        "network": arguments.network,
        "batch": arguments.batch,
        "aux_depth": arguments.aux_depth if arguments.method == "auglocal" else None,
        "dataset": arguments.dataset,
        "modules": peer.modules,
        "memory_format": arguments.memory_format,
        "device": torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu",
        "precision": arguments.precision,
        "compiled": arguments.compile,
        "max_memory_allocated_bytes": (
            torch.cuda.max_memory_allocated() if arguments.device == "cuda" else None
        ),
        "device_step_seconds": device_median(peer.device_seconds),
        "parameters": sum(p.numel() for p in peer.model.parameters()),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "step_seconds": {"median": median, "min": min(seconds, default=None), "n": len(seconds)},
        "samples_per_second": arguments.batch / median if median else None,
        "process_baseline_bytes": baseline,
        "process_peak_bytes": peak,
        "peak_minus_baseline_bytes": peak - baseline,
    }


def print_table(result: dict[str, Any]) -> None:
    for key, value in result.items():
        text = f"{value / 2**20:.1f} MiB" if key.endswith("_bytes") and value else str(value)
        print(f"{key.removesuffix('_bytes'):28} {text}")


def obey_input(peer: Peer, seconds: list[float]) -> None:
    """Answers `run K` on standard input until `quit` or its end."""
    for line in sys.stdin:
        match line.split():
            case ["run", count] if count.isdigit():
                turn = [peer.step() for _ in range(int(count))]
                seconds.extend(turn)
                answer = {
                    "step_seconds": turn,
                    "device_step_seconds": device_median(peer.device_seconds[-int(count) :]),
                    "process_peak_bytes": status_bytes("VmHWM", peer.device.type),
                }
                print(json.dumps(answer), flush=True)
            case ["quit"]:
                return
            case []:
                continue
            case _:
                sys.exit(
                    f"peer_bench: standard input: got {line.strip()!r}, want 'run K' or 'quit'"
                )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", choices=localnets.METHODS, default="bp")
    parser.add_argument("--network", default="resnet32", help="one of ours")
    parser.add_argument("--dataset", choices=DATASETS, default="cifar10")
    parser.add_argument("--batch", type=int, default=128, metavar="N", help="samples a step")
    parser.add_argument("--threads", type=int, default=2, metavar="T")
    parser.add_argument("--steps", type=int, default=10, metavar="S", help="timed steps")
    parser.add_argument("--warmup", type=int, default=2, metavar="W", help="steps before them")
    parser.add_argument("--aux-depth", type=int, default=2, metavar="D", help="AugLocal's d")
    parser.add_argument("--memory-format", choices=MEMORY_FORMATS, default="channels_last")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("f32", "tf32", "bf16"), default="f32")
    parser.add_argument("--compile", action="store_true", help="torch.compile, of bp")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of a table"
    )
    parser.add_argument(
        "--interactive", action="store_true", help="obey standard input instead of --steps"
    )
    arguments = parser.parse_args()
    if arguments.compile and arguments.method != "bp":
        parser.error(f"--compile: got method {arguments.method}, want bp")
    if arguments.network in localnets.BLOCKS_PER_STAGE:
        if arguments.dataset != "cifar10":
            parser.error(f"--network {arguments.network}: got {arguments.dataset}, want cifar10")
    elif arguments.method != "bp":
        parser.error(f"--network {arguments.network}: got method {arguments.method}, want bp")
    for name, least in {"batch": 2, "threads": 1, "steps": 1, "warmup": 0, "aux_depth": 1}.items():
        if getattr(arguments, name) < least:
            parser.error(
                f"--{name.replace('_', '-')}: got {getattr(arguments, name)}, want at least {least}"
            )
    return arguments


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.set_num_interop_threads(1)
    torch.backends.cudnn.allow_tf32 = arguments.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = arguments.precision == "tf32"
    torch.backends.cudnn.benchmark = arguments.device == "cuda"
    warm_libraries()
    baseline = status_bytes("VmRSS", arguments.device)
    try:
        reset_peak()
    except OSError:  # as with status_bytes
        if arguments.device == "cpu":
            raise

    peer = Peer(arguments)
    for _ in range(arguments.warmup):
        peer.step()
    peer.device_seconds.clear()
    if arguments.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds: list[float] = []
    if arguments.interactive:
        obey_input(peer, seconds)
    else:
        seconds.extend(peer.step() for _ in range(arguments.steps))

    result = summary(arguments, peer, seconds, baseline)
    if arguments.json or arguments.interactive:
        print(json.dumps(result))
    else:
        print_table(result)


if __name__ == "__main__":
    main()
