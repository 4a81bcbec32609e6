"""Runs the audit team with real processes, breaks things on purpose, and counts.

This is test equipment: it reaches behind `messaging.api` to break things and to look at the log. Agents need none of
it.
"""
