"""Teams: who takes part in a chat, by which rules."""
