"""Agents of other frameworks on Nexus. Each example is run by itself: python examples/adapters/<name>.py"""
