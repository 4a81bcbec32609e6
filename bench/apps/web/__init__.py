"""The site of the benchmark: a view that saves an order and sends a message about it."""
