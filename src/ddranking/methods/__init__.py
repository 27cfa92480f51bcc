"""Baselines that need no optimisation of pixels: what every distillation method must beat."""
