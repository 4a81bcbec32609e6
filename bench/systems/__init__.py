"""The systems that are compared: each starts its workers, sends a race, and stops."""
