"""What messages may say: schemas by type and version, their checks, and how versions follow each other."""
