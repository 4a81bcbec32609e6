"""A2A 1.0 over the log: a stored team is an agent for others, and each of its chats a task."""
