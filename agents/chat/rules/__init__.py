"""What chats are made of, as plain values: teams, who speaks when, when it ends, and what was said."""
