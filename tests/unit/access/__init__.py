"""Access control, without a database."""
