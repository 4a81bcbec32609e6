"""How connections to PostgreSQL are set up, directly or through a pooler such as PgBouncer. Called by settings files.

==============  ========================================================================================
pooling         the settings below, and those of ``options`` in DATABASE_URL, are given
==============  ========================================================================================
none            at the start of a session, as libpq's ``options``
session         by a statement when a session has started: poolers refuse the startup parameter ``options``
transaction     at the start of each transaction, which may run in any session; nothing is prepared on the
                server, and ``options`` is refused, because statements outside a transaction would miss it
==============  ========================================================================================
"""

from __future__ import annotations

import re
import shlex
from typing import Any

from messaging.core.errors import ConfigurationError

SESSION_SETTINGS = {
    "statement_timeout": "60000",
    # Longer than a transactional handler may take (NEXUS_STUCK_AFTER): its transaction is idle while it computes.
    "idle_in_transaction_session_timeout": "360000",
    # The statements are short and repeated: compiling them costs more than it saves.
    "jit": "off",
}
POOLINGS = ("none", "session", "transaction")
POOLING_KEY, SETTINGS_KEY = "NEXUS_POOLING", "NEXUS_SESSION_SETTINGS"

_setting = re.compile(r"(?:-c\s*|--)([A-Za-z_][\w.-]*)=(.*)", re.DOTALL).fullmatch


def configure_postgres(database: Any, pooling: str = "none") -> None:
    """Set up one entry of Django's DATABASES. What its OPTIONS say already counts more.

    Args:
        database: the entry; changed in place.
        pooling: one of ``POOLINGS``: what stands between Django and PostgreSQL.

    Raises:
        ConfigurationError: there is no such pooling, or ``options`` cannot be honoured with it.
    """
    if pooling not in POOLINGS:
        raise ConfigurationError(f"DATABASE_POOLING is {pooling!r}: expected one of {', '.join(POOLINGS)}.")
    options = database.setdefault("OPTIONS", {})
    own = str(options.pop("options", "")).strip()
    database[POOLING_KEY] = pooling
    if pooling == "none":
        defaults = " ".join(f"-c {name}={value}" for name, value in SESSION_SETTINGS.items())
        options["options"] = f"{defaults} {own}".strip()  # of two values the last one counts
        return
    if pooling == "transaction" and own:
        raise ConfigurationError(
            f"DATABASE_URL has options={own!r}, which a transaction pooler cannot keep: statements outside a "
            "transaction would run without. Give them to the role instead (ALTER ROLE … SET search_path = …), or pool "
            "sessions (DATABASE_POOLING=session)."
        )
    database[SETTINGS_KEY] = {**SESSION_SETTINGS, **read_options(own)}
    if pooling == "transaction":
        database["DISABLE_SERVER_SIDE_CURSORS"] = True  # a cursor lives in one session only
        options["prepare_threshold"] = None  # and so does a prepared statement


def read_options(text: str) -> dict[str, str]:
    """Read libpq's ``options``: name → value.

    Raises:
        ConfigurationError: something in it is no setting.

    >>> read_options("-c search_path=app,public --jit=on")
    {'search_path': 'app,public', 'jit': 'on'}
    """
    words = iter(shlex.split(text))
    found: dict[str, str] = {}
    for word in words:
        setting = word + next(words, "") if word == "-c" else word
        match = _setting(setting)
        if match is None:
            raise ConfigurationError(f"options={text!r} in DATABASE_URL: {setting!r} is no setting; use -c name=value.")
        found[match[1].replace("-", "_")] = match[2]
    return found
