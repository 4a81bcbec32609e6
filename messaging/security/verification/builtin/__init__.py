"""The rules that come with Nexus."""
