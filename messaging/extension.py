"""The door for Django apps that are built on Nexus, as `agents` is: what carries them, beside ``messaging.api``."""

from messaging.conf import get_settings
from messaging.core import trace_names, tracing
from messaging.core.describing import cut_text, json_size, safe_repr, storable, summarize_error, visible
from messaging.core.errors import ContentRulesError
from messaging.core.names import check_agent_name
from messaging.core.registry import did_you_mean
from messaging.directory.names import known_names
from messaging.log import load_states
from messaging.operators.fork_point import refuse_forks_with
from messaging.operators.index_state import IndexState
from messaging.operators.paging import BoundedPaginator
from messaging.operators.telling import TellingAdmin
from messaging.operators.times import moment, time_column, time_field
from messaging.receiving.event_loop import database_threads, handler_loop
from messaging.recovery.discarding import when_discarded
from messaging.recovery.periodic import run_periodically
from messaging.recovery.questions import QUESTION, RuleQuestion, answer_question, load_question
from messaging.security.access.app_permissions import AppPermissions, add_permissions, every_change_of
from messaging.security.verification.rules import VerificationRule
from messaging.security.verification.subject import VerificationSubject
from messaging.security.verification.verdicts import Objection, Unanswered, VerdictAction
from messaging.sending.stored import when_stored

__all__ = [
    "QUESTION",
    "AppPermissions",
    "BoundedPaginator",
    "ContentRulesError",
    "IndexState",
    "Objection",
    "RuleQuestion",
    "TellingAdmin",
    "Unanswered",
    "VerdictAction",
    "VerificationRule",
    "VerificationSubject",
    "add_permissions",
    "answer_question",
    "check_agent_name",
    "cut_text",
    "database_threads",
    "did_you_mean",
    "every_change_of",
    "get_settings",
    "handler_loop",
    "json_size",
    "known_names",
    "load_question",
    "load_states",
    "moment",
    "refuse_forks_with",
    "run_periodically",
    "safe_repr",
    "storable",
    "summarize_error",
    "time_column",
    "time_field",
    "trace_names",
    "tracing",
    "visible",
    "when_discarded",
    "when_stored",
]
