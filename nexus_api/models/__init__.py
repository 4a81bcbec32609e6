"""The tables, one concept a file."""

from nexus_api.models.idempotent_request import IdempotentRequest
from nexus_api.models.token import ApiToken, Visibility
from nexus_api.models.workflow_origin import WorkflowOrigin

__all__ = ["ApiToken", "IdempotentRequest", "Visibility", "WorkflowOrigin"]
