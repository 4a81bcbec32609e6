"""The door for Django apps that are built on Nexus, as `agents` is: what carries them, beside ``messaging.api``."""

from messaging.conf import get_settings
from messaging.core.describing import cut_text, json_size, safe_repr, storable, summarize_error
from messaging.core.names import check_agent_name
from messaging.core.registry import did_you_mean
from messaging.directory.names import known_names
from messaging.log import load_states
from messaging.receiving.event_loop import database_threads, handler_loop
from messaging.recovery.discarding import when_discarded
from messaging.recovery.periodic import run_periodically
from messaging.security.access.app_permissions import AppPermissions, add_permissions

__all__ = [
    "AppPermissions",
    "add_permissions",
    "check_agent_name",
    "cut_text",
    "database_threads",
    "did_you_mean",
    "get_settings",
    "handler_loop",
    "json_size",
    "known_names",
    "load_states",
    "run_periodically",
    "safe_repr",
    "storable",
    "summarize_error",
    "when_discarded",
]
