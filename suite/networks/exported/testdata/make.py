"""Writes the .pt2 files of this folder, and ../../testdata/exported.json: python make.py (torch 2.15, torchvision 0.29).

Each .pt2 file is torch.export.save of a network in training mode, without weights, sample inputs and stack traces, so that it is
small. exported.json has logits and gradients of some of them as ../../testdata/make_golden.py writes those of torchvision.

python make.py --check writes all of them into a temporary folder, and compares them with those that are here: the graphs, and the
numbers up to rounding, which depends on the processor. The serialization_id of a file is left out: it follows from its weights. Both take
some minutes.
"""

import io
import json
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
import torchvision
from torch import nn


class Odd(nn.Module):
    """Shortcuts outside of blocks, functions in place of modules, a view with a literal batch, an average pool."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(8, eps=1e-3, momentum=0.2)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.third = nn.Conv2d(8, 12, (3, 1), stride=2, groups=4)
        self.side = nn.Conv2d(8, 12, (3, 1), stride=2)
        self.hidden = nn.Linear(12 * 4 * 4, 20)
        self.hidden_norm = nn.BatchNorm1d(20)
        self.out = nn.Linear(20, 10, bias=False)

    def forward(self, x):
        x = torch.nn.functional.silu(self.first_norm(self.first(x)))
        x = x + torch.relu(self.second(x))
        x = self.side(x) + self.third(x)
        x = torch.nn.functional.relu6(x)
        x = torch.nn.functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        x = torch.nn.functional.max_pool2d(x, 2, ceil_mode=True)
        x = torch.nn.functional.dropout(x.reshape(x.shape[0], -1), 0.25)
        return self.out(torch.relu_(self.hidden_norm(self.hidden(x))))


class Gated(nn.Module):
    """A residual block that works in place, with squeeze-and-excitation whose factor comes second."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
                                  nn.Conv2d(width, width, 3, 1, 1, groups=width), nn.BatchNorm2d(width))
        self.squeeze, self.excite = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)
        self.shortcut = nn.Sequential(nn.AvgPool2d(stride), nn.Conv2d(inputs, width, 1)) if stride > 1 else None

    def forward(self, x):
        y = self.body(x)
        y = y * torch.sigmoid(self.excite(torch.relu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        y += x if self.shortcut is None else self.shortcut(x)
        return torch.relu_(y)


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.act = nn.ReLU6(inplace=True)
        self.blocks = nn.ModuleList([Gated(8, 8, 1), Gated(8, 16, 2), Gated(16, 16, 1)])

    def forward(self, x):
        x = self.act(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return x


class Wrapped(nn.Module):
    """A network inside a module."""

    def __init__(self):
        super().__init__()
        self.body = Body()
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(self.body(x), 1), 1))


class Woven(nn.Module):
    """Slices of uneven lengths, one of them used three times and one changed in place; joins along channels and height; transposed
    maps; shuffled channels; features flattened in PyTorch's order, normalised and joined."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.left = nn.Conv2d(5, 6, 3, padding=1)
        self.right = nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.middle = nn.Conv2d(24, 12, 3, stride=2, groups=2)
        self.last = nn.Conv2d(12, 6, (2, 1))
        self.norm = nn.BatchNorm1d(6 * 5 * 7)
        self.fc = nn.Linear(6 * 5 * 7 + 12, 10)

    def forward(self, x):
        x = self.stem(x)
        a, b, c = x[:, :3], x[:, 3:8], x[:, 8:]
        c = self.right(c.transpose(2, 3))
        d = self.left(b).relu_()
        x = torch.cat([a, b, d, c.permute(0, 1, 3, 2), b[:, -2:]], 1)
        x = x.reshape(x.shape[0], 3, 8, *x.shape[2:]).transpose(1, 2).flatten(1, 2)
        x = self.middle(x)
        high, low = x[:, :5], x.narrow(1, 5, 7)
        high.relu_()
        first, second = torch.split(low, [3, 4], 1)
        x = torch.cat([second, high, torch.nn.functional.silu(first)], 1)
        y = self.last(torch.cat([x[:, :, 1:], x.narrow(2, 0, 4)], 2)[:, :, :6])
        y = self.norm(torch.flatten(torch.relu(y), 1))
        return self.fc(torch.cat([y, x.mean((2, 3))], 1))


class Turned(nn.Module):
    """Tensors read with other extents: positions become channels, channels positions, features a map; joins along the width."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 4, 1)
        self.shuffle = nn.ChannelShuffle(4)
        self.wide = nn.Conv2d(4, 12, 3, padding=1)
        self.rows = nn.Conv2d(8, 6, 3, padding=1)
        self.hidden = nn.Linear(6 * 8 * 48, 64)
        self.map = nn.Conv2d(2, 4, 3, padding=1)
        self.fc = nn.Linear(4 + 5, 10)

    def forward(self, x):
        x = self.shuffle(self.stem(x))
        n = x.shape[0]
        x = torch.nn.functional.silu(x.view(n, 16, 64).transpose(1, 2).contiguous().view(n, 16, 8, 8)) + x.transpose(2, 3)
        left, middle, right = torch.split(x, [2, 3, 3], 3)
        x = torch.cat([right, left, middle], 3)
        x = x.view(n, 4, 2, 2, 8, 8).permute(0, 1, 4, 2, 5, 3).reshape(n, 4, 16, 16)
        x = torch.relu(self.wide(x))
        x = x.view(n, 12, 8, 2, 8, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, 48, 8, 8)
        x = torch.relu(x.permute(0, 2, 3, 1)).permute(0, 2, 1, 3)
        x = self.hidden(self.rows(x).permute(0, 2, 3, 1).flatten(1))
        y = x.unsqueeze(1).unflatten(2, (8, 8))
        y = self.map(torch.cat([y, y.transpose(2, 3)], 1))
        return self.fc(torch.cat([nn.functional.adaptive_avg_pool2d(y, 1).squeeze(3).squeeze(2), torch.relu(x)[:, 5:10]], 1))


class Means(nn.Module):
    """Pixel shuffles, and means over channels, over channels and width, over height, over a sequence."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 4, 1)
        self.up, self.down = nn.PixelShuffle(2), nn.PixelUnshuffle(4)
        self.conv = nn.Conv2d(5, 12, 3, padding=1)
        self.fc = nn.Linear(4 * 4 + 4 + 192, 10)

    def forward(self, x):
        x = self.up(self.stem(x))
        x = self.down(torch.relu(self.conv(torch.cat([x, x.mean(1, keepdim=True)], 1))))
        rows, sequence = x.mean(2, keepdim=True), x.flatten(2).transpose(1, 2)
        return self.fc(torch.cat([x.mean(1).flatten(1), x.mean((1, 3)), sequence.mean(1) + rows.permute(0, 2, 3, 1).mean((1, 2))], 1))


class Tied(nn.Module):
    """A layer, and a module with layers, that run several times: their parameters are shared."""

    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x):
            return x + torch.relu(self.conv(x))

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.cell = Tied.Cell()
        self.between = nn.Conv2d(8, 8, 1, bias=False)
        self.down = nn.Conv2d(16, 12, 3, 2, 1)
        self.out = nn.Conv2d(12, 10, 1)
        self.fc = nn.Linear(10, 10)
        self.act = nn.ReLU()

    def forward(self, x):
        x = self.act(self.stem(x))
        x = self.cell(self.between(self.cell(x)))
        x = self.act(self.down(torch.cat([x, self.between(x)], 1)))
        x = self.out(x).mean((2, 3))
        return self.fc(self.act(self.fc(x)))


class Unsupported(nn.Module):
    """Ops that the step program does not have."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=(1, 2))
        self.act = nn.Softplus()
        self.head = nn.Linear(8, 10)
        self.rows, self.columns = nn.LayerNorm(32), nn.Linear(32, 32)
        self.scale = nn.ParameterDict({"width": torch.ones(32)})

    def forward(self, images):
        x = self.act(self.act(self.stem(images)))
        over_width = self.rows(images) + self.columns(images) + images * self.scale["width"]
        return self.head(torch.cat([x, x], 1)[:, ::2].cumsum(1).amax((2, 3))) + over_width.mean((2, 3))[:, :1]


def without_traces(model):
    """The JSON of a graph without stack traces, which have the paths of the machine."""
    document = json.loads(model)
    for node in document["graph_module"]["graph"]["nodes"]:
        node["metadata"].pop("stack_trace", None)
    return json.dumps(document, separators=(",", ":")).encode()


def save(path, network, size, symbolic=False):
    shapes = ({0: torch.export.Dim("batch")},) if symbolic else None
    exported = torch.export.export(network, (torch.zeros(4, 3, size, size),), dynamic_shapes=shapes)
    whole = io.BytesIO()
    torch.export.save(exported, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for name in source.namelist():
            if "/data/sample_inputs/" in name or "/data/weights/weight_" in name:
                continue
            content = source.read(name)
            if "/models/" in name:
                content = without_traces(content)
            target.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)


# Networks of torchvision, and the sides of images for their golden logits: larger ones where few values a channel would amplify
# rounding, or for networks so large that short tests leave them out.
POINTWISE = {"mobilenet_v3_small": 64, "mobilenet_v3_large": 64, "mnasnet1_0": 64, "convnext_tiny": 64, "efficientnet_b0": 64,
             "efficientnet_v2_s": 96, "resnext50_32x4d": 96, "resnet50": 96, "wide_resnet50_2": 96, "vgg16": 96, "vgg16_bn": 96}


class Pointwise(nn.Module):
    """Activations, dilation, layer normalisation and products as networks outside of torchvision write them."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=2, dilation=2)
        self.first = Mixer(8)
        self.down = nn.Conv2d(8, 12, 3, 2, 1)
        self.second = Mixer(12)
        self.norm = nn.LayerNorm(12)
        self.hidden, self.head = nn.Linear(12, 16), nn.Linear(16, 10)

    def forward(self, x):
        x = self.first(nn.functional.gelu(self.stem(x), approximate="tanh"))
        x = nn.functional.avg_pool2d(torch.sigmoid(self.down(x)), 3, 2, 1, ceil_mode=True)
        x = self.second(x).permute(0, 2, 3, 1).mean((1, 2))
        return self.head(nn.functional.hardswish(self.hidden(self.norm(x))))


class Mixer(nn.Module):
    """A block that computes with channels last, scales them by a parameter [C], and gates them by another activation."""

    def __init__(self, width):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 5, padding=4, groups=width, dilation=2)
        self.norm = nn.LayerNorm(width, eps=1e-3)
        self.wide, self.narrow = nn.Linear(width, 3 * width), nn.Linear(3 * width, width, bias=False)
        self.gamma = nn.Parameter(torch.ones(width))
        self.gate = nn.Conv2d(width, width, 1)

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.gamma * self.narrow(nn.functional.gelu(self.wide(y)))
        y = x + y.permute(0, 3, 1, 2)
        return y * torch.relu(self.gate(nn.functional.adaptive_avg_pool2d(y, 1)))


HERE = Path(__file__).parent
GOLDEN = HERE.parent.parent / "testdata"


def make(folder, golden):
    """Writes the .pt2 files into a folder, and exported.json into another."""
    torch.manual_seed(0)
    for name in ("resnet18", "resnet34", "resnet50", "vgg13_bn", "mobilenet_v2", "regnet_x_400mf", "efficientnet_b0"):
        save(folder / f"{name}.pt2", torchvision.models.get_model(name, weights=None).train(), 224)
    regnet = torchvision.models.regnet_y_400mf(num_classes=5)
    save(folder / "regnet_y_400mf.pt2", regnet.train(), 64)
    save(folder / "odd.pt2", Odd().train(), 32)
    save(folder / "odd_symbolic.pt2", Odd().train(), 32, symbolic=True)
    save(folder / "odd_evaluation.pt2", Odd().eval(), 32)
    save(folder / "wrapped.pt2", Wrapped().train(), 32)
    save(folder / "unsupported.pt2", Unsupported().train(), 32)
    save(folder / "woven.pt2", Woven().train(), 32)
    save(folder / "tied.pt2", Tied().train(), 32)
    save(folder / "turned.pt2", Turned().train(), 32)
    save(folder / "pointwise.pt2", Pointwise().train(), 32)
    save(folder / "means.pt2", Means().train(), 32)
    joined = {name: torchvision.models.get_model(name, num_classes=10, **options) for name, options in (
        ("densenet121", {}), ("googlenet", {"aux_logits": False, "transform_input": False, "init_weights": False}),
        ("squeezenet1_1", {}), ("shufflenet_v2_x1_0", {}))}
    for name, network in joined.items():
        save(folder / f"{name}.pt2", network.train(), 64)

    pointwise = {name: torchvision.models.get_model(name, num_classes=10) for name in POINTWISE}
    for name, network in pointwise.items():
        save(folder / f"{name}_64.pt2", network.train(), 64)

    sys.path.insert(0, str(GOLDEN))
    import make_golden

    nn.functional.dropout = lambda x, *_, **__: x
    networks = {"odd": (Odd(), 32, 10), "wrapped": (Wrapped(), 32, 5), "regnet_y_400mf": (regnet, 64, 5),
                "woven": (Woven(), 32, 10), "tied": (Tied(), 32, 10), "turned": (Turned(), 32, 10),
                "pointwise": (Pointwise(), 32, 10), "means": (Means(), 32, 10)}
    # Few values a channel amplify rounding: GoogLeNet has larger images than those that it was exported with.
    networks |= {name: (network, 96 if name == "googlenet" else 64, 10) for name, network in joined.items()}
    networks |= {f"{name}_64": (pointwise[name], side, 10) for name, side in POINTWISE.items()}
    logits = [make_golden.logits_of(net, f"exported/testdata/{name}.pt2", side, classes, True)
              for name, (net, side, classes) in networks.items()]
    for entry in logits:  # with running statistics that are not its own, its activations grow until PyTorch's f32 is wrong as well
        if "efficientnet_v2_s" in entry["network"]:
            entry["inference"] = []
    make_golden.write(golden / "exported.json", {"command": "python3 suite/networks/exported/testdata/make.py",
                                                 "torch": torch.__version__, "torchvision": torchvision.__version__, "logits": logits})


def content(path):
    """The files of an archive, without the one that depends on the weights."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/serialization_id")}


def apart(old, new):
    """How far two lists of numbers are apart, relative to the largest; infinite where their lengths differ."""
    if len(old) != len(new):
        return float("inf")
    return max((abs(x - y) for x, y in zip(old, new)), default=0) / max(map(abs, old), default=1)


def check():
    """Lists what make would change. It returns whether there is anything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, folder)
        made = sorted(folder.glob("*.pt2"))
        changed = [f"{path.name} is another graph" for path in made
                   if not (HERE / path.name).exists() or content(HERE / path.name) != content(path)]
        old, new = (json.loads((where / "exported.json").read_text())["logits"] for where in (GOLDEN, folder))
    if [entry["network"] for entry in old] != [entry["network"] for entry in new]:
        changed.append("exported.json has other networks")
    changed += [f"{key} of {a['network']} are other numbers" for a, b in zip(old, new)
                for key in ("inference", "training", "gradients") if apart(a[key], b[key]) > 1e-12]
    print("\n".join(changed) or f"{len(made)} files and {len(new)} networks of exported.json are as they were made")
    return bool(changed)


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(check())
    make(HERE, GOLDEN)
