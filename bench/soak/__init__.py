"""Soak: load with random faults, and an independent count of what was lost, doubled or out of order."""
