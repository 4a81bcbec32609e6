"""What only this project's own tests share. Servers, processes and waiting are in ``messaging.testing.servers``."""
