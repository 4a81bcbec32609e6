"""Access control: who may send what to whom.

``policy`` says what a policy is, ``validating`` what a sound one is, ``compiling`` makes a decision table of it, and
``deciding`` answers a batch. ``reading`` and ``writing`` are YAML, ``store`` is the database. ``explaining``,
``what_if``, ``graph`` and ``drawing`` show people what a policy does. docs/access.md has the rules in words.
"""
