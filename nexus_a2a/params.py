"""What requests carry, as A2A 1.0's JSON has it. Unknown fields are left aside, as the protocol asks."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from nexus_a2a.errors import CONTENT_TYPE, INVALID_PARAMS, A2AProblem

MAX_PAGE = 100
MAX_PARTS = 1_000
MAX_ID = 200
MODES = ("text/plain", "application/json")
"""What a team reads and writes."""

Identifier = Annotated[str, msgspec.Meta(max_length=MAX_ID)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Params = TypeVar("Params")


class MessagePart(msgspec.Struct, rename="camel"):
    """A piece of a message: exactly one of text, data, raw and url."""

    text: str | msgspec.UnsetType = msgspec.UNSET
    data: Any = msgspec.UNSET
    raw: str | msgspec.UnsetType = msgspec.UNSET
    url: str | msgspec.UnsetType = msgspec.UNSET
    media_type: str | None = None

    def check(self) -> None:
        """Refuse what is no part, or what teams do not read.

        Raises:
            A2AProblem: says which.
        """
        contents = [content for content in (self.text, self.data, self.raw, self.url) if content is not msgspec.UNSET]
        if len(contents) != 1:
            raise A2AProblem(INVALID_PARAMS, "message.parts: each has exactly one of text, data, raw and url.")
        type = (self.media_type or "").partition(";")[0].strip().lower()
        readable = not type or type.startswith("text/") or type == "application/json" or type.endswith("+json")
        if self.raw is not msgspec.UNSET or self.url is not msgspec.UNSET or not readable:
            raise A2AProblem(CONTENT_TYPE, f"Text and JSON data are read ({', '.join(MODES)}); no files, no {type}.")


class ClientMessage(msgspec.Struct, rename="camel"):
    """What a client says.

    Args:
        message_id: chosen by the client; the same one again is the same message.
        role: ``ROLE_USER``.
        parts: at least one.
        context_id: groups tasks; "" for a new group.
        task_id: the task that it goes on with; "" for a new one.
    """

    message_id: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
    role: str
    parts: Annotated[list[MessagePart], msgspec.Meta(min_length=1, max_length=MAX_PARTS)]
    context_id: Identifier | None = None
    task_id: Identifier | None = None

    def check(self) -> None:
        """Refuse what msgspec cannot tell.

        Raises:
            A2AProblem: says what is wrong.
        """
        if self.role != "ROLE_USER":
            raise A2AProblem(INVALID_PARAMS, "message.role: expected ROLE_USER.")
        if self.context_id and not self.context_id.isprintable():
            raise A2AProblem(INVALID_PARAMS, "message.contextId: expected printable characters.")
        for part in self.parts:
            part.check()

    @property
    def text(self) -> str:
        """The texts, one after another."""
        return "\n\n".join(part.text for part in self.parts if isinstance(part.text, str))

    @property
    def all_text(self) -> str:
        """The texts and, as JSON, the data."""
        pieces = [
            part.text if isinstance(part.text, str) else msgspec.json.encode(part.data).decode() for part in self.parts
        ]
        return "\n\n".join(pieces)

    @property
    def decision(self) -> dict[str, Any]:
        """The first object among the data: ``{"approval": …, "approved": …, "text": …}``, or whatever else it is."""
        return next((part.data for part in self.parts if isinstance(part.data, dict)), {})


class Configuration(msgspec.Struct, rename="camel"):
    """How a message is answered."""

    history_length: Count | None = None
    return_immediately: bool | None = None
    task_push_notification_config: Any = None


class SendParams(msgspec.Struct, rename="camel"):
    message: ClientMessage
    configuration: Configuration | None = None

    def check(self) -> None:
        """See ``ClientMessage.check``."""
        self.message.check()


class TaskParams(msgspec.Struct, rename="camel"):
    id: Annotated[str, msgspec.Meta(min_length=1)]
    history_length: Count | None = None


class ListParams(msgspec.Struct, rename="camel"):
    context_id: str | None = None
    status: str | None = None
    page_size: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] | None = None
    page_token: Annotated[str, msgspec.Meta(max_length=500)] | None = None
    history_length: Count | None = None
    status_timestamp_after: str | None = None
    include_artifacts: bool | None = None


def read_params(data: Any, kind: type[Params]) -> Params:
    """Read a request's parameters.

    Raises:
        A2AProblem: says what is wrong with which.
    """
    try:
        return msgspec.convert({} if data is None else data, kind, strict=False)
    except msgspec.ValidationError as error:
        raise A2AProblem(INVALID_PARAMS, f"params: {error}.") from None
