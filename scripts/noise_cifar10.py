#!/usr/bin/env python3
"""Writes a data set of noise in the binary form of CIFAR-10, to time epochs where it is not there.

    python3 scripts/noise_cifar10.py FOLDER

FOLDER/cifar-10-batches-bin gets five files of training images and one of test images. A record
is a label and 3x32x32 bytes.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

RECORDS, IMAGE = 10_000, 3 * 32 * 32


def main() -> None:
    folder = Path(sys.argv[1]) / "cifar-10-batches-bin"
    folder.mkdir(parents=True, exist_ok=True)
    dice = random.Random(1)
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        records = (bytes([i % 10]) + dice.randbytes(IMAGE) for i in range(RECORDS))
        (folder / name).write_bytes(b"".join(records))


if __name__ == "__main__":
    main()
