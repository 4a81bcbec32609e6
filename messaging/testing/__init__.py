"""Tools for tests, of this project and of those that use it. Nothing else in Nexus imports them."""
