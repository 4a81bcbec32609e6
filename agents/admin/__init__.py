"""Chats, approvals, teams and what the judge cost, in the admin."""

from agents.admin.approvals import ApprovalAdmin
from agents.admin.chats import ChatSessionAdmin
from agents.admin.judge_spending import JudgeSpendingAdmin
from agents.admin.teams import TeamAdmin

__all__ = ["ApprovalAdmin", "ChatSessionAdmin", "JudgeSpendingAdmin", "TeamAdmin"]
