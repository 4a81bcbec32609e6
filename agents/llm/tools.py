"""Tools: functions that a model may have called."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, get_type_hints

import msgspec

from agents.llm.types import ToolSpec
from messaging.api import ConfigurationError, Labels

_match_name = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch


class ToolArgumentsError(ValueError):
    """The model's arguments do not fit the tool. The model is told, and may try again."""


class ModelTool(Protocol):
    """What a turn needs of a tool; ``Tool`` is one, a tool of a toolbox another."""

    @property
    def name(self) -> str: ...
    @property
    def repeatable(self) -> bool: ...
    @property
    def spec(self) -> ToolSpec: ...
    async def call(self, arguments: str) -> str: ...


class Toolbox(Protocol):
    """Tools that somebody else has, such as an MCP server.

    ``labels`` are those of whatever comes from it, its tools' descriptions among it; ``changes_outside`` says whether
    its tools may change something outside.
    """

    @property
    def labels(self) -> Labels: ...
    @property
    def changes_outside(self) -> bool: ...
    def open(self) -> AbstractAsyncContextManager[Sequence[ModelTool]]:
        """Its tools, for one turn.

        Raises:
            TransientError: it cannot be reached.
        """


class Tool:
    """A function with type hints, described for a model.

    Args:
        function: sync (called in a thread) or async; returns a text or any JSON value.
        name: how the model calls it; the function's name by default.
        description: when and how to use it; the docstring by default.
        repeatable: calling it twice does no harm, so a call that a crash interrupted is made again. Otherwise the
            model is told that nobody knows whether it took effect.

    Raises:
        ConfigurationError: the name cannot be a tool's, or a parameter has no type hint.

    >>> def weather(city: str, days: int = 1) -> str:
    ...     "Forecast for a city."
    ...     return "sunny"
    >>> tool = Tool(weather)
    >>> tool.spec.parameters["required"], tool.read_arguments('{"city": "Kyiv"}')
    (['city'], {'city': 'Kyiv', 'days': 1})
    """

    def __init__(
        self, function: Callable[..., Any], *, name: str = "", description: str = "", repeatable: bool = False
    ) -> None:
        self.name = name or getattr(function, "__name__", "")
        if not _match_name(self.name):
            raise ConfigurationError(f"{self.name!r} cannot name a tool: 1 to 64 letters, digits, '_' and '-' can.")
        self.repeatable = repeatable
        self._function = function
        self._arguments = _arguments_type(self.name, function)
        schema = msgspec.json.schema(self._arguments)
        parameters = schema["$defs"].pop(self._arguments.__name__)
        parameters.pop("title", None)
        if schema["$defs"]:
            parameters["$defs"] = schema["$defs"]
        self.spec = ToolSpec(self.name, description or inspect.getdoc(function) or "", parameters)

    def __repr__(self) -> str:
        return f"Tool({self.name!r})"

    def read_arguments(self, arguments: str) -> dict[str, Any]:
        """Check the model's arguments.

        Raises:
            ToolArgumentsError: they are no JSON, or do not fit.
        """
        try:
            read = msgspec.json.decode(arguments or "{}", type=self._arguments)
        except (msgspec.MsgspecError, ValueError) as error:
            raise ToolArgumentsError(f"The arguments of {self.name} do not fit: {error}.") from None
        return {field: getattr(read, field) for field in self._arguments.__struct_fields__}

    async def call(self, arguments: str) -> str:
        """Call the function; return its result as text.

        Raises:
            ToolArgumentsError: the arguments do not fit.
            Exception: whatever the function raised.
        """
        values = self.read_arguments(arguments)
        if inspect.iscoroutinefunction(self._function):
            result = await self._function(**values)
        else:
            result = await asyncio.to_thread(self._function, **values)
        return result if isinstance(result, str) else msgspec.json.encode(result).decode()


def _arguments_type(name: str, function: Callable[..., Any]) -> type[msgspec.Struct]:
    """A type whose fields are the function's parameters."""
    hints = get_type_hints(function)
    fields: list[tuple[str, type] | tuple[str, type, Any]] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ConfigurationError(f"Tool {name!r}: parameter {parameter} cannot be described to a model. Name it.")
        if parameter.name not in hints:
            raise ConfigurationError(f"Tool {name!r}: parameter {parameter.name!r} has no type hint. Give it one.")
        if parameter.default is parameter.empty:
            fields.append((parameter.name, hints[parameter.name]))
        else:
            fields.append((parameter.name, hints[parameter.name], parameter.default))
    try:
        return msgspec.defstruct(f"{name}_arguments", fields, kw_only=True, forbid_unknown_fields=True)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"Tool {name!r}: its parameters cannot be described to a model: {error}.") from None
