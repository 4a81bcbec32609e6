"""A Django app that brings the schema of the race's messages, for the race with all checks on."""
