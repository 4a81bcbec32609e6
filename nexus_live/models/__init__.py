"""The tables, one concept a file."""

from nexus_live.models.share_link import ShareLink
from nexus_live.models.workflow_viewer import WorkflowViewer

__all__ = ["ShareLink", "WorkflowViewer"]
