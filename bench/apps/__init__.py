"""What runs in the processes of each system: its handlers, and ``python -m bench.apps.<system>`` to send."""
