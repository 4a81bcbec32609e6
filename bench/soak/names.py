"""What the driver of a soak and the processes that it starts have in common."""

TYPE = "soak.step"
SLOW_EVERY = 5
"""Every so many messages one also goes the slow way."""
FAIL_EVERY = 50
"""Every so many messages one fails at its first attempt."""
OUTSIDE_EVERY = 10
"""Every so many messages one also goes through a program outside, where there is one."""
REFUSED_EVERY = 40
"""So many times that the sender sends, two messages are to be refused: one for its labels, one by a rule."""
SAGA_EVERY = 6
"""So many times that the sender sends, a saga begins."""
FAILING_SAGA_EVERY = 5
"""Every so many sagas one fails at its last step, and compensates."""
BANKS = ("bank-a", "bank-b", "bank-c")
"""Participants of the sagas."""
TILLS = ("till_a", "till_b")
"""Databases that take part in two-phase commits, by their aliases; on a server of their own."""
REFUSED_TEXT = "to be refused"

ATTEMPTS_FILE = "SOAK_ATTEMPTS_FILE"
"""Environment variable: where handlers write a line at each attempt."""
CLOCK_FILE = "SOAK_CLOCK_FILE"
"""Environment variable: the file that holds a process's clock jump, in seconds."""
OUTSIDE = "SOAK_OUTSIDE"
"""Environment variable: set where a program outside takes part."""
BRAKE_FILE = "SOAK_BRAKE_FILE"
"""Environment variable: the file that says how a verification rule fails: raise, hang or nothing."""
VAULT_FILE = "SOAK_VAULT_FILE"
"""Environment variable: the key store is away while this file exists; unset for the operator."""
MASTER_KEY = "SOAK_MASTER_KEY"
"""Environment variable: the master key, which only the soak's key vault reads."""
VERSION_FILE = "SOAK_VERSION_FILE"
"""Environment variable: the file that says which version of the code a worker runs: newer, or nothing."""
