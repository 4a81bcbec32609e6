"""Schemas: the mechanism alone, without gate and log."""
