"""What the admin's templates use."""
