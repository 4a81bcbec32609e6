"""The HTTP API of Nexus, for programs in any language: docs/api.md. It needs the extra ``api`` (django-ninja)."""
