"""Benchmarks against private servers: ``make bench``. What the figures mean stands in docs/performance.md."""
