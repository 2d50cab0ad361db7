"""Writes golden.safetensors from the description of the format alone: python3 make_golden.py

Element i of each tensor, in the file's order, is i/2 - 7; names are in order, the header is padded with spaces to 8 bytes.
"""
import json
import math
import struct

TENSORS = {"bn.bias": [7], "conv.weight": [3, 5, 2, 3], "fc.weight": [4, 12], "head.weight": [5, 6]}

header, data = {"__metadata__": {"format": "pt", "note": "golden"}}, b""
for name in sorted(TENSORS):
    shape = TENSORS[name]
    content = struct.pack(f"<{math.prod(shape)}f", *(i / 2 - 7 for i in range(math.prod(shape))))
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
    data += content
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
with open("golden.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + data)
