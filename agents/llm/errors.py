"""What can go wrong with a model, and what becomes of the message that needed it.

    ModelError
    ├── ModelUnavailable   no answer: network, timeout, 5xx                    try again later, counts for the breaker
    │   └── ModelCutOff    the answer ended in its middle                      the same
    ├── ModelBusy          429 or 503 with Retry-After                         try again, not before it says
    ├── ModelGarbled       an answer that is none                              try again
    └── ModelRefused       400, 401, 403, 404, …: the request itself is wrong  never again: a dead letter
        └── ContextTooLong  the conversation is longer than the model reads    asked again with a shorter one

No text in here ever holds a key: what a server says about a request is cleaned of it first.
"""

from __future__ import annotations

from messaging.api import NexusError, TerminalError, TransientError


class ModelError(NexusError):
    """A model did not give a usable answer."""


class ModelUnavailable(ModelError, TransientError):
    """No answer came: the network, a timeout, or the server's own failure."""


class ModelCutOff(ModelUnavailable):
    """The connection ended in the middle of the answer."""


class ModelBusy(ModelError, TransientError):
    """The server takes no more requests for now; ``retry_after`` says for how long, in seconds, if it told."""


class ModelGarbled(ModelError, TransientError):
    """The server answered with something that is no completion."""


class ModelRefused(ModelError, TerminalError):
    """The server refused the request itself. Trying again would not help.

    Args:
        status: the HTTP status.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class ContextTooLong(ModelRefused):
    """The conversation is longer than the model can read."""
