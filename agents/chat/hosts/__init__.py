"""Where chats run: in this process or in the database; and how programs, people and members take part."""
