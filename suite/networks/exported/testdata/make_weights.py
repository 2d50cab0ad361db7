"""Writes weights.pt2 of this folder, and ../../testdata/weights.json: python make_weights.py (torch 2.15).

weights.pt2 is a small network of torch.export.save with its weights, as PyTorch initialises them and ten steps of SGD change them;
convolutions lie in memory as torch.channels_last. weights.json has its logits for the images of ../../testdata/make_golden.py, in double
precision, and how far PyTorch's initial values of each layer reach.
"""

import io
import sys
import zipfile
from pathlib import Path

import torch
from torch import nn

from make import without_traces

FOLDER = Path(__file__).parent
GOLDEN = FOLDER.parent.parent / "testdata"


class Block(nn.Module):
    def __init__(self, inputs, width, stride, groups):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, groups=groups)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = nn.Conv2d(inputs, width, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.downsample(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 2, 1)
        self.blocks = nn.Sequential(Block(6, 6, 1, 3), Block(6, 8, 2, 8))
        self.hidden = nn.Linear(8 * 4 * 4, 12)
        self.fc = nn.Linear(12, 4)

    def forward(self, x):
        x = self.blocks(torch.relu(self.stem(x)))
        return self.fc(torch.relu(self.hidden(torch.flatten(x, 1))))


def reach(shape_of):
    """The largest initial value of weights and biases by layer, in a thousand draws of it at least."""
    out = {}
    for name, module in shape_of.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            largest = {}
            for _ in range(200):
                module.reset_parameters()
                for kind, p in module.named_parameters():
                    largest[kind] = max(largest.get(kind, 0), p.abs().max().item())
            out.update({f"{name}.{kind}": x for kind, x in largest.items()})
    return out


def main():
    sys.path.insert(0, str(GOLDEN))
    import make_golden

    torch.manual_seed(3)
    bounds = reach(Net())
    net = Net().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(10):
        loss = nn.functional.cross_entropy(net(torch.randn(8, 3, 16, 16)), torch.randint(4, (8,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    exported = torch.export.export(net, (torch.zeros(4, 3, 16, 16),))
    whole = io.BytesIO()
    torch.export.save(exported, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(FOLDER / "weights.pt2", "w") as target:
        for name in source.namelist():
            if "/data/sample_inputs/" not in name:
                packed = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
                content = without_traces(source.read(name)) if "/models/" in name else source.read(name)
                target.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, packed)

    with torch.no_grad():
        net = net.double()
        images = ((make_golden.formula(2 * 16 * 16 * 3, 7) + 1) * 128).floor().reshape(2, 16, 16, 3)
        x = ((images - 120) / 60).permute(0, 3, 1, 2).contiguous()
        inference, training = net.eval()(x), net.train()(x)
    make_golden.write(GOLDEN / "weights.json", {
        "command": "python3 suite/networks/exported/testdata/make_weights.py", "torch": torch.__version__, "reach": bounds,
        "logits": [{"network": "exported/testdata/weights.pt2", "side": 16, "classes": 4,
                    "inference": inference.flatten().tolist(), "training": training.flatten().tolist()}]})


if __name__ == "__main__":
    main()
