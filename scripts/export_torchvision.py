#!/usr/bin/env python3
"""Exports networks of torchvision for images of 32 and 224 pixels and ten classes: python3 scripts/export_torchvision.py FOLDER

The files, FOLDER/NETWORK_SIDE.pt2, have no weights. docs/your-own-network.md says
how they are planned and run under every method. Needs PyTorch 2.15 and torchvision 0.29.
"""

import sys
from pathlib import Path

import torchvision

sys.path.insert(0, str(Path(__file__).parent.parent / "suite/networks/exported/testdata"))
from make import save  # noqa: E402

NETWORKS = ["resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "vgg16", "vgg16_bn", "mobilenet_v2", "mobilenet_v3_small",
            "mobilenet_v3_large", "mnasnet1_0", "efficientnet_b0", "efficientnet_v2_s", "regnet_x_400mf", "regnet_y_400mf",
            "densenet121", "googlenet", "squeezenet1_1", "shufflenet_v2_x1_0", "convnext_tiny"]
OPTIONS = {"googlenet": {"aux_logits": False, "transform_input": False, "init_weights": False}}


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        for side in (32, 224):
            network = torchvision.models.get_model(name, weights=None, num_classes=10, **OPTIONS.get(name, {}))
            save(folder / f"{name}_{side}.pt2", network.train(), side)
            print(folder / f"{name}_{side}.pt2", flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
