"""Randomness is an argument: every stream of random numbers is named and derived from one seed.

``derive(3, "order")`` and ``derive(3, "initialisation")`` are independent streams of seed 3.
There is no global seeding and no clock anywhere in the package. Imports no torch.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose: the first 8 bytes of SHA-256 over ``seed/purpose/...``.

    Args:
        seed: the seed a user sees, 0, 1, 2, ...
        purpose: words and numbers that name the stream, in order.

    Returns:
        an integer in [0, 2**63), the same on every machine and version.
    """
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """A NumPy generator (PCG64) for one purpose; see :func:`derive`."""
    return np.random.Generator(np.random.PCG64(derive(seed, *purpose)))
