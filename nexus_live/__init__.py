"""Live pages: watch workflows and take part in them, outside the admin."""
