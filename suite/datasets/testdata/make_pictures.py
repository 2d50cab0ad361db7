#!/usr/bin/env python3
"""Writes testdata/pictures: what torchvision makes of a picture.

    python3 suite/datasets/testdata/make_pictures.py

colour.png and grey.jpg are the pictures. middle_*.png is Resize and CenterCrop, part_*.png is resized_crop of a
rectangle; names say the sizes. crops.json has the means of what RandomResizedCrop draws, with the deviation of a draw.
"""

import json
import math
import pathlib

import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as F

HERE = pathlib.Path(__file__).parent / "pictures"


def colour(height, width):
    """Waves in each channel with some noise, so that a wrong place, order or filter shows."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 5 + y / 9), np.cos(x / 7 - y / 4), np.sin(x * y / 300)]
    noise = np.random.default_rng(1).uniform(-0.2, 0.2, (height, width, 3))
    return Image.fromarray((127.5 * (1 + 0.8 * np.stack(waves, -1) + noise)).clip(0, 255).astype(np.uint8))


def middle(picture, shorter, side):
    scaled = F.resize(picture, shorter, InterpolationMode.BILINEAR, antialias=True)
    return F.center_crop(scaled, side).convert("RGB")


def part(picture, top, left, height, width, side):
    return F.resized_crop(picture, top, left, height, width, [side, side], InterpolationMode.BILINEAR, antialias=True).convert("RGB")


def crops(width, height, draws=200_000):
    torch.manual_seed(1)
    picture = Image.new("RGB", (width, height))
    rows = []
    for _ in range(draws):
        top, left, h, w = RandomResizedCrop.get_params(picture, [0.08, 1.0], [3 / 4, 4 / 3])
        rows.append([w * h / (width * height), math.log(w / h), top / height, left / width])
    rows = np.array(rows)
    return {"width": width, "height": height, "draws": draws, "means": rows.mean(0).tolist(), "deviations": rows.std(0).tolist()}


def main():
    HERE.mkdir(exist_ok=True)
    picture = colour(61, 83)
    picture.save(HERE / "colour.png")
    grey = picture.convert("L").resize((40, 50))
    grey.save(HERE / "grey.jpg", quality=95)
    grey = Image.open(HERE / "grey.jpg")
    middle(picture, 40, 32).save(HERE / "middle_40_32.png")
    middle(picture, 90, 32).save(HERE / "middle_90_32.png")
    middle(picture, 48 * 256 // 224, 48).save(HERE / "middle_54_48.png")
    middle(grey, 36, 32).save(HERE / "grey_36_32.png")
    part(picture, 5, 7, 50, 60, 32).save(HERE / "part_5_7_50_60_32.png")
    part(picture, 40, 60, 10, 12, 32).save(HERE / "part_40_60_10_12_32.png")
    made = {"command": "make_pictures.py", "torchvision": torchvision.__version__,
            "crops": [crops(500, 375), crops(64, 64), crops(300, 900), crops(2000, 100)]}
    (HERE / "crops.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
