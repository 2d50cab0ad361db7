#!/usr/bin/env python3
"""Measures the two ceilings of a GPU with PyTorch, and prints them as a JSON object.

    python3 scripts/gpu_ceilings.py

The bandwidth is that of a copy of 4 GiB on the device, bytes read and bytes written; the rates
are those of a product of two matrices of 8192 x 8192 random numbers. Each is the median of
twenty, after five that are not counted.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable

import torch


def seconds(work: Callable[[], object]) -> float:
    """Median seconds of work between two events on the device."""
    times = []
    for _ in range(25):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e-3)
    return statistics.median(times[5:])


def product_rate(dtype: torch.dtype) -> float:
    """Operations a second of a matrix product, a multiply-add as two."""
    n = 8192
    a, b, c = (torch.randn(n, n, device="cuda", dtype=dtype) for _ in range(3))
    return 2 * n**3 / seconds(lambda: torch.matmul(a, b, out=c))


def main() -> None:
    source = torch.randn(2**30, device="cuda")
    target = torch.empty_like(source)
    copied = 2 * source.nbytes / seconds(lambda: target.copy_(source))
    del source, target
    rates = {"copy_bytes_per_second": copied}
    for name, dtype in {"f32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}.items():
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        rates[f"{name}_flops_per_second"] = product_rate(dtype)
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
