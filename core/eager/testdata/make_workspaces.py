#!/usr/bin/env python3
"""Writes rows of workspaces.csv: the workspace that cuDNN's heuristics ask for the convolutions of networks, without a GPU.

    python3 core/eager/testdata/make_workspaces.py DIR > rows.csv

DIR has exported networks (.pt2). The convolutions are those over more than 1x1 that are not depthwise, at batch 256, as PyTorch
describes them: NCHW, f32, tf32 allowed, mode A of the heuristics, which is what torch.backends.cudnn.benchmark=False uses; the first
plan that builds. Needs the packages nvidia-cudnn-cu12 or -cu13 (9.8 or later, which plans for a device that is not there), cuBLAS and
nvrtc of the same CUDA, whose libraries must be found by the dynamic linker, and nvidia-cudnn-frontend. The properties of the GPUs
are those of NVIDIA's data sheets; what is not in them is as of the RTX A6000 in results/planbook/book.json.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path

import cudnn

BATCH = 256
BOOK = Path(__file__).resolve().parents[3] / "results" / "planbook" / "book.json"
GPUS = {
    "RTX 3060": {"deviceVer": 860, "multiProcessorCount": 28, "smClockRateKHz": 1777000, "memClockRateKHz": 7501000,
                 "l2CacheSize": 2359296, "totalGlobalMem": 12622168064},
    "RTX 4060": {"deviceVer": 890, "multiProcessorCount": 24, "smClockRateKHz": 2460000, "memClockRateKHz": 8501000,
                 "l2CacheSize": 25165824, "totalGlobalMem": 8318222336},
}


def properties(name: str):  # noqa: ANN201
    known = next(g for g in json.loads(BOOK.read_text())["gpus"] if "A6000" in g["name"])["properties"]
    return cudnn.create_device_properties(json.dumps(known | GPUS[name] | {"deviceName": "NVIDIA GeForce " + name}))


def convolutions(path: Path) -> list[tuple[int, ...]]:
    """C, H, W, K, R, S, stride, padding and groups of each convolution of an exported network."""
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if re.search(r"models/[^/]*\.json$", n))
        graph = json.loads(archive.read(name))["graph_module"]["graph"]
    size = {k: [d["as_int"] for d in v["sizes"]] for k, v in graph["tensor_values"].items() if all("as_int" in d for d in v["sizes"])}
    found = []
    for node in graph["nodes"]:
        if not node["target"].startswith("torch.ops.aten.conv2d."):
            continue
        arg = {i["name"]: i["arg"] for i in node["inputs"]}
        x, w = size[arg["input"]["as_tensor"]["name"]], size[arg["weight"]["as_tensor"]["name"]]
        pair = [arg.get(k, {}).get("as_ints", [d])[0] for k, d in (("stride", 1), ("padding", 0))]
        groups = arg.get("groups", {}).get("as_int", 1)
        if (w[2], w[3]) != (1, 1) and groups != x[1]:
            found.append((*x[1:], w[0], w[2], w[3], *pair, groups))
    return found


def workspace(device, kind: str, shape: tuple[int, ...]) -> int:  # noqa: ANN001
    c, h, w, k, r, s, stride, padding, groups = shape
    maps, weights = [BATCH, c, h, w], [k, c // groups, r, s]
    result = [BATCH, k, (h + 2 * padding - r) // stride + 1, (w + 2 * padding - s) // stride + 1]
    f32 = cudnn.data_type.FLOAT
    g = cudnn.pygraph(io_data_type=f32, intermediate_data_type=f32, compute_data_type=f32, device_property=device)

    def strides(d: list[int]) -> list[int]:
        return [d[1] * d[2] * d[3], d[2] * d[3], d[3], 1]

    def tensor(d: list[int], name: str):  # noqa: ANN202
        return g.tensor(dim=d, stride=strides(d), data_type=f32, name=name)

    options = {"padding": [padding] * 2, "stride": [stride] * 2, "dilation": [1, 1]}
    if kind == "conv":
        y, d = g.conv_fprop(image=tensor(maps, "x"), weight=tensor(weights, "w"), **options), result
    elif kind == "conv_backward_data":
        y, d = g.conv_dgrad(loss=tensor(result, "dy"), filter=tensor(weights, "w"), **options), maps
    else:
        y, d = g.conv_wgrad(image=tensor(maps, "x"), loss=tensor(result, "dy"), **options), weights
    y.set_output(True).set_dim(d).set_stride(strides(d)).set_data_type(f32)
    g.validate()
    g.build_operation_graph()
    g.create_execution_plans([cudnn.heur_mode.A])
    g.build_plans()
    return g.get_workspace_size()


def main() -> None:
    shapes = sorted({s for path in Path(sys.argv[1]).glob("*.pt2") for s in convolutions(path)})
    print("cudnn,gpu,op,batch,channels,height,width,outputs,kernel_height,kernel_width,stride,padding,groups,workspace_bytes")
    for gpu in GPUS:
        device = properties(gpu)
        for shape in shapes:
            for kind in ("conv", "conv_backward_data", "conv_backward_weights"):
                print(cudnn.backend_version(), gpu, kind, BATCH, *shape, workspace(device, kind, shape), sep=",")


if __name__ == "__main__":
    main()
