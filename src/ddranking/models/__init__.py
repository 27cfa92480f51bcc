"""Networks by name. ``table.py`` is the place to add one; importing this package imports no torch."""

from ddranking.models.names import ModelName
from ddranking.models.table import MODELS, Shape, build, check, listing

__all__ = ["MODELS", "ModelName", "Shape", "build", "check", "listing"]
