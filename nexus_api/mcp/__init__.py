"""The MCP server: what a model's program may do here, through the official SDK (the extra ``mcp``)."""
