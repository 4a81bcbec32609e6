"""How quick the admin's pages are when the log is long."""
