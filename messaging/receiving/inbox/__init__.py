"""What programs outside send: verified, stored with a number of its own, then handled like any other message."""
