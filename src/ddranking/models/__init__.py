"""Networks by name; add one in ``table.py``. Importing this package imports no torch."""

from ddranking.models.names import ModelName
from ddranking.models.table import MODELS, Shape, build, check, listing

__all__ = ["MODELS", "ModelName", "Shape", "build", "check", "listing"]
