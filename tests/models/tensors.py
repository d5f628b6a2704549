"""Reads and writes .safetensors: 8 bytes of header length, a JSON header, the numbers."""
import json

import numpy as np

TYPES = {"F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8", "U8": "<u1", "U16": "<u2"}


def bf16(x):
    """The nearest numbers of bf16, as f32; ties to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def read(path):
    """{name: array}; BF16 becomes f32."""
    with open(path, "rb") as file:
        data = file.read()
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = (start + offset for offset in entry["data_offsets"])
            if entry["dtype"] == "BF16":
                flat = (np.frombuffer(data[begin:end], "<u2").astype("<u4") << 16).view("<f4")
            else:
                flat = np.frombuffer(data[begin:end], TYPES[entry["dtype"]])
            tensors[name] = flat.reshape(entry["shape"])
    return tensors


def write(path, tensors):
    """Arrays of types other than those in TYPES are an error."""
    names = {np.dtype(code): name for name, code in TYPES.items()}
    header, blobs, offset = {}, [], 0
    for name, array in tensors.items():
        blob = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape),
                        "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(blobs))
