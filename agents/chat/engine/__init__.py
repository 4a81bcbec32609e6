"""How a chat goes on: a state and an event make a new state and what is to be done. No clock, database or network."""
