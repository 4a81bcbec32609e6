"""What verification said about a delivery, and the rules by which it did."""

from __future__ import annotations

from django.db import models

from messaging.models.delivery import Delivery


class VerdictState(models.TextChoices):
    """Where a verdict stands that a person decides about, or has decided about."""

    SETTLED = "settled", "settled: nobody is asked"
    ASKED = "asked", "waiting for a judge outside the batch"
    WAITING = "waiting", "waiting for a person"
    RELEASED = "released", "released by a person"
    REJECTED = "rejected", "rejected by a person"


WAITING_STATES = (VerdictState.WAITING, VerdictState.ASKED)
"""The delivery waits in the quarantine."""


class Verdict(models.Model):
    """One delivery, judged once by one version of the rules. It never holds the message's text."""

    delivery = models.ForeignKey(
        Delivery, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="verdicts"
    )
    rule_set = models.CharField(max_length=16, help_text="Digest of the rules, their versions and settings.")
    action = models.CharField(max_length=10, help_text="The severest of the verdicts that are no shadows.")
    rule = models.CharField(max_length=60, blank=True, default="", help_text="The one that decided.")
    rule_version = models.IntegerField(default=0)
    origin = models.CharField(max_length=6, blank=True, default="", help_text="All but given are fail-closed.")
    reason = models.TextField(blank=True, default="")
    pointer = models.TextField(blank=True, default="", help_text="The evidence: RFC 6901, into the data.")
    duration = models.FloatField(default=0.0, help_text="Seconds that all rules took together.")
    objections = models.JSONField(default=list, blank=True, help_text="Of every rule, shadows too.")
    state = models.CharField(max_length=8, choices=VerdictState, default=VerdictState.SETTLED)
    asked = models.JSONField(default=list, blank=True, help_text="Rules whose answer comes from outside the batch.")
    asked_at = models.DateTimeField(null=True, blank=True, help_text="When they were asked.")
    answer_by = models.DateTimeField(null=True, blank=True, help_text="Without an answer by then it fails closed.")
    created_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.CharField(max_length=150, blank=True, default="")
    note = models.TextField(blank=True, default="", help_text="Why a person decided so.")

    class Meta:
        db_table = "nexus_verdict"
        constraints = [
            models.UniqueConstraint(fields=["delivery", "rule_set"], name="nexus_verdict_once"),
            models.CheckConstraint(condition=models.Q(state__in=VerdictState.values), name="nexus_verdict_state"),
        ]
        indexes = [
            models.Index(
                fields=["created_at"],
                name="nexus_verdict_waiting",
                condition=models.Q(state=str(VerdictState.WAITING)),
            ),
            models.Index(
                fields=["answer_by"],
                name="nexus_verdict_asked",
                condition=models.Q(state=str(VerdictState.ASKED)),
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.action}{f' by {self.rule}' if self.rule else ''}"


class RuleSet(models.Model):
    """One version of the verification rules' settings; the newest is in force. Nobody changes one."""

    text = models.TextField(help_text="YAML, as docs/content.md describes it.")
    digest = models.CharField(max_length=16, editable=False, help_text="As verdicts name it.")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=150, blank=True, default="", editable=False)

    class Meta:
        db_table = "nexus_rule_set"

    def __str__(self) -> str:
        return f"version {self.pk} ({self.digest})"
