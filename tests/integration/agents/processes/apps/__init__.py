"""Modules of agents that the tests have workers load."""
