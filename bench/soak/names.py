"""What the driver of a soak and the processes that it starts have in common."""

TYPE = "soak.step"
SLOW_EVERY = 5
"""Every so many messages one also goes the slow way."""
FAIL_EVERY = 50
"""Every so many messages one fails at its first attempt."""

ATTEMPTS_FILE = "SOAK_ATTEMPTS_FILE"
"""Environment variable: where handlers write a line at each attempt."""
CLOCK_FILE = "SOAK_CLOCK_FILE"
"""Environment variable: the file that holds a process's clock jump, in seconds."""
