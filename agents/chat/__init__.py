"""Group chats: who speaks when, when it ends, and what was said."""
