"""The child process that opens a torch file. Nobody else in this package calls ``torch.load``.

Run as a script: ``python -P unpickle.py OUT SECONDS BYTES FILE...`` with one JSON line on standard
output. It imports no other module of this package, so that as little as possible is in the process
that meets the file. ``torch.load(weights_only=True)`` never calls what a pickle names, apart from
a short list; NumPy's own reconstructors are not on it, so the stand-ins below rebuild plain numeric
arrays and scalars from their bytes and nothing else.

What comes out is an outline in JSON whose arrays lie as ``.npy`` files in OUT:
``{"dict": [[key, node], ...]}``, ``{"list": [node, ...]}``, ``{"array": "3.npy"}``,
``{"number": 0.01}``, ``{"text": "..."}`` and ``{"other": "type"}`` for what carries no numbers.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

DEPTH_LIMIT = 12
NODE_LIMIT = 200_000
TEXT_LIMIT = 200


class Unsafe(Exception):
    """The file needs more than numbers to be rebuilt, or more of them than allowed."""


class DtypeStandIn:
    """What ``numpy.dtype`` becomes: the code of a plain number type, checked, never executed."""

    __slots__ = ("code", "order")

    def __init__(self, code: object = "", align: object = False, copy: object = True) -> None:
        if not (isinstance(code, str) and len(code) <= 3 and code[:1] in "biuf" and code):
            raise Unsafe(f"a NumPy type {str(code)[:20]!r} that is not a plain number")
        self.code, self.order = code, "="

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
        self.order = order if order in ("<", ">") else "="

    def build(self) -> np.dtype:
        return np.dtype(self.order + self.code)


class ArrayStandIn:
    """What ``numpy.ndarray`` becomes: shape, type and bytes, put together by ``frombuffer``."""

    __slots__ = ("dtype", "fortran", "raw", "shape")

    def __init__(self, *_: object) -> None:
        self.shape: tuple[int, ...] = (0,)
        self.dtype = DtypeStandIn("f4")
        self.fortran = False
        self.raw = b""

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise Unsafe("a NumPy array in an unknown form")
        _, shape, dtype, fortran, raw = state
        if (
            not isinstance(dtype, DtypeStandIn)
            or not isinstance(raw, bytes)
            or not isinstance(shape, tuple)
            or not all(isinstance(n, int) and n >= 0 for n in shape)
        ):
            raise Unsafe("a NumPy array of objects")
        self.shape, self.dtype, self.fortran, self.raw = shape, dtype, bool(fortran), raw

    def build(self) -> np.ndarray:
        flat = np.frombuffer(self.raw, dtype=self.dtype.build())
        if math.prod(self.shape) != flat.size:
            raise Unsafe(f"a NumPy array of shape {self.shape} with {flat.size} numbers")
        return flat.reshape(self.shape, order="F" if self.fortran else "C")


def scalar_stand_in(dtype: object = None, raw: object = b"") -> float:
    """``numpy.core.multiarray.scalar``: one number (the DC family's files list accuracies so)."""
    if not isinstance(dtype, DtypeStandIn) or not isinstance(raw, bytes) or len(raw) > 16:
        raise Unsafe("a NumPy scalar that is not a number")
    return float(np.frombuffer(raw, dtype=dtype.build(), count=1)[0])


def array_stand_in(*_: object) -> ArrayStandIn:
    """``numpy.core.multiarray._reconstruct``: an empty array that its state fills."""
    return ArrayStandIn()


STAND_INS: list[Any] = [
    (DtypeStandIn, "numpy.dtype"),
    (ArrayStandIn, "numpy.ndarray"),
    *(
        (stand_in, f"numpy.{package}.multiarray.{name}")
        for package in ("core", "_core")
        for stand_in, name in ((scalar_stand_in, "scalar"), (array_stand_in, "_reconstruct"))
    ),
]


def read(path: Path) -> Any:
    """The content of a torch file, zip or legacy, with every tensor on the CPU.

    Raises:
        Unsafe: a pickle that names anything but tensors, numbers, text and their containers.
        Exception: whatever torch raises for a file that is damaged.
    """
    import torch

    try:
        with torch.serialization.safe_globals([*STAND_INS, DtypeStandIn, ArrayStandIn]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = _essence(str(error))
        if refused is None:
            raise ValueError("a damaged pickle") from None
        raise Unsafe(refused) from None


def outline(value: Any, out: Path, byte_limit: int) -> dict[str, Any]:
    """Describe ``value`` in plain JSON and write its arrays into ``out``."""
    return _Outliner(out, byte_limit).node(value, 0)


class _Outliner:
    """Counts nodes and bytes while it walks, so that small files cannot describe huge results."""

    def __init__(self, out: Path, byte_limit: int) -> None:
        self.out, self.left, self.nodes, self.arrays = out, byte_limit, 0, 0

    def node(self, value: Any, depth: int) -> dict[str, Any]:
        import torch

        self.nodes += 1
        if depth > DEPTH_LIMIT or self.nodes > NODE_LIMIT:
            raise Unsafe("lists or dictionaries nested too deep or too many")
        if isinstance(value, torch.Tensor):
            return self._array(self._plain(value))
        if isinstance(value, ArrayStandIn):
            return self._array(value.build())
        if isinstance(value, dict):
            pairs = [[_text(key), self.node(each, depth + 1)] for key, each in value.items()]
            return {"dict": pairs}
        if isinstance(value, (list, tuple)):
            return {"list": [self.node(each, depth + 1) for each in value]}
        if isinstance(value, (bool, int, float)):
            return {"number": repr(float(value))} if abs(value) < 1e300 else {"other": "number"}
        if isinstance(value, str):
            return {"text": _text(value)}
        return {"other": type(value).__name__}

    def _plain(self, tensor: Any) -> np.ndarray:
        import torch

        # A stride of zero makes a few bytes look like terabytes; the size is taken before a copy.
        self._spend(tensor.numel() * tensor.element_size(), list(tensor.shape))
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise Unsafe(f"a {tensor.layout} tensor on {tensor.device.type}")
        if tensor.is_complex():
            raise Unsafe("a tensor of complex numbers")
        tensor = tensor.detach()
        if tensor.dtype == torch.bfloat16 or "float8" in str(tensor.dtype):
            tensor = tensor.to(torch.float32)
        return tensor.contiguous().numpy()

    def _array(self, array: np.ndarray) -> dict[str, Any]:
        self._spend(array.nbytes, list(array.shape))
        name = f"{self.arrays}.npy"
        self.arrays += 1
        np.save(self.out / name, array, allow_pickle=False)
        return {"array": name}

    def _spend(self, count: int, shape: list[int]) -> None:
        if count > self.left:
            raise Unsafe(f"an array of shape {shape}, over the limit of bytes")
        self.left -= count // 2  # every array passes here twice


def limit_process(seconds: int, byte_limit: int) -> None:
    """Let this process use ``byte_limit`` more memory than now, and ``seconds`` of processor time.

    Taken relative to what torch itself has mapped, which differs tenfold between its builds.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limits; the parent's time limit still holds
        return
    usage = Path("/proc/self/statm")
    mapped = int(usage.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") if usage.exists() else 0
    limits = [(resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0)]
    limits.append((resource.RLIMIT_FSIZE, byte_limit + (1 << 20)))
    if mapped:
        limits.append((resource.RLIMIT_AS, mapped + byte_limit + (256 << 20)))
    for kind, most in limits:
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, hard))


def _essence(message: str) -> str | None:
    """What was refused, out of torch's page of advice (which tells people to load it anyway).

    None when nothing was refused and the pickle is only damaged.
    """
    named = re.search(r"GLOBAL ([\w.]+)", message)
    if named:
        return f"an object of {named[1].rstrip('.')}"
    said = re.search(r"(Can only [^\n]{1,120}|Trying to call reduce[^\n]{1,120})", message)
    return said[1] if said else None


def _text(value: object) -> str:
    """Short text without control characters, which could rewrite a terminal."""
    return "".join(each if each.isprintable() else "?" for each in str(value)[:TEXT_LIMIT])


def answer(out: Path, byte_limit: int, files: list[Path]) -> dict[str, Any]:
    """The JSON that goes back to the parent: outlines, or the file and fault that stopped it."""
    trees = []
    for index, path in enumerate(files):
        folder = out / str(index)
        folder.mkdir()
        try:
            trees.append(outline(read(path), folder, byte_limit))
        except Unsafe as error:
            return {"file": index, "unsafe": _text(error)}
        except MemoryError:
            return {"file": index, "broken": "it needs more memory than allowed"}
        except RecursionError:
            return {"file": index, "unsafe": "lists or dictionaries nested too deep"}
        except Exception as error:
            text = _text((str(error).splitlines() or [""])[0][:160])
            if "can't allocate memory" in text or "not enough memory" in text:
                text = "it needs more memory than allowed"
            return {"file": index, "broken": f"{type(error).__name__}: {text}"}
    return {"trees": trees}


def main(arguments: list[str]) -> None:
    out, seconds, byte_limit = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    import torch

    torch.set_num_threads(1)
    limit_process(seconds, byte_limit)
    reply = answer(out, byte_limit, [Path(each) for each in arguments[3:]])
    (out / "outline.json").write_text(json.dumps(reply))


if __name__ == "__main__":
    main(sys.argv[1:])
