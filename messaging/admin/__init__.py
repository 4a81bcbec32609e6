"""The admin: every table of Nexus, and what operators do with workflows and dead letters."""

from __future__ import annotations

from django.apps import apps
from django.contrib import admin

from messaging.admin.access import (
    AccessChangeAdmin,
    AccessEpochAdmin,
    AccessGrantAdmin,
    AccessRoleAdmin,
    AccessTeamAdmin,
)
from messaging.admin.agents import AgentAdmin, AgentGroupAdmin, AgentStateAdmin, AwaitedReplyAdmin, OnceResultAdmin
from messaging.admin.base import LogAdmin
from messaging.admin.bulk_runs import BulkRunAdmin
from messaging.admin.dead_letters import DeadLetterAdmin
from messaging.admin.foreign import ForeignArrivalAdmin, ForeignSenderAdmin
from messaging.admin.labels import LabelEndorsementAdmin
from messaging.admin.log import DeliveryAdmin, MailboxAdmin, MessageAdmin, ProcessedMessageAdmin
from messaging.admin.operator_acts import OperatorActAdmin
from messaging.admin.processes import QueueMarkerAdmin, RelayLeaseAdmin, WorkerStatusAdmin
from messaging.admin.sagas import JournalEntryAdmin, SagaRunAdmin
from messaging.admin.schemas import MessageSchemaAdmin
from messaging.admin.signing import (
    EncryptionKeyAdmin,
    SigningChangeAdmin,
    SigningExemptionAdmin,
    SigningKeyAdmin,
    SigningStateAdmin,
    SigningUseAdmin,
)
from messaging.admin.timers import ScheduleAdmin, TimerAdmin
from messaging.admin.two_phase import TwoPhaseBranchAdmin, TwoPhaseInstallationAdmin, TwoPhaseRunAdmin
from messaging.admin.verdicts import RuleSetAdmin, VerdictAdmin
from messaging.admin.workflows import WorkflowAdmin
from messaging.models import AccessRoleMember, AccessTeamMember, DeadLetterNote, GivenPermission, GroupMember

__all__ = [
    "AccessChangeAdmin",
    "AccessEpochAdmin",
    "AccessGrantAdmin",
    "AccessRoleAdmin",
    "AccessTeamAdmin",
    "AgentAdmin",
    "AgentGroupAdmin",
    "AgentStateAdmin",
    "AwaitedReplyAdmin",
    "BulkRunAdmin",
    "DeadLetterAdmin",
    "DeliveryAdmin",
    "EncryptionKeyAdmin",
    "ForeignArrivalAdmin",
    "ForeignSenderAdmin",
    "JournalEntryAdmin",
    "LabelEndorsementAdmin",
    "MailboxAdmin",
    "MessageAdmin",
    "MessageSchemaAdmin",
    "OnceResultAdmin",
    "OperatorActAdmin",
    "ProcessedMessageAdmin",
    "QueueMarkerAdmin",
    "RelayLeaseAdmin",
    "RuleSetAdmin",
    "SagaRunAdmin",
    "ScheduleAdmin",
    "SigningChangeAdmin",
    "SigningExemptionAdmin",
    "SigningKeyAdmin",
    "SigningStateAdmin",
    "SigningUseAdmin",
    "TimerAdmin",
    "TwoPhaseBranchAdmin",
    "TwoPhaseInstallationAdmin",
    "TwoPhaseRunAdmin",
    "VerdictAdmin",
    "WorkerStatusAdmin",
    "WorkflowAdmin",
]

admin.site.site_header = admin.site.site_title = "Nexus"
admin.site.index_title = "Operations"

_ON_ANOTHER_PAGE = (GroupMember, AccessRoleMember, AccessTeamMember)


class InternalAdmin(LogAdmin):
    """Tables that stand on another page, or are for people who mend Nexus itself."""

    internal = True


admin.site.register((DeadLetterNote, GivenPermission), InternalAdmin)

# A table that has no page of its own yet can be looked at all the same.
for _model in apps.get_app_config("nexus").get_models():
    if _model not in _ON_ANOTHER_PAGE and not admin.site.is_registered(_model):
        admin.site.register(_model, InternalAdmin)
