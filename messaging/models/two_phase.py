"""Two-phase commit: several databases or agents, one outcome, decided by one row."""

from __future__ import annotations

from django.db import models


class TwoPhaseStatus(models.TextChoices):
    PREPARING = "preparing"  # no decision: what is not decided in time is aborted
    COMMITTING = "committing"  # decided; repeated until every participant has done it
    ABORTING = "aborting"  # likewise
    IN_DOUBT = "in_doubt"  # the decision may have been lost with the database: an operator decides
    COMMITTED = "committed"
    ABORTED = "aborted"
    HEURISTIC = "heuristic"  # somebody ended a participant's transaction by hand, against the decision


OPEN_TWO_PHASE = (
    TwoPhaseStatus.PREPARING,
    TwoPhaseStatus.COMMITTING,
    TwoPhaseStatus.ABORTING,
    TwoPhaseStatus.IN_DOUBT,
)


class TwoPhaseRun(models.Model):
    """One run, and its decision. Its id is that of its workflow; the row stays when the workflow is pruned."""

    id = models.UUIDField(primary_key=True, editable=False)
    name = models.CharField(max_length=100)
    status = models.CharField(max_length=10, choices=TwoPhaseStatus, default=TwoPhaseStatus.PREPARING)
    decision = models.CharField(max_length=6, blank=True, default="", help_text="commit, abort, or none yet.")
    reason = models.TextField(blank=True, default="")
    input = models.TextField(help_text="JSON")
    incarnation = models.CharField(max_length=100, help_text="Of the database in which it was started.")
    deadline_at = models.DateTimeField(help_text="What is not decided by then is aborted.")
    journal_count = models.IntegerField(default=0)
    journal_head = models.CharField(max_length=64, blank=True, default="", help_text="Hash of the last entry.")
    started_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    tried_at = models.DateTimeField(help_text="When the relay last tried to bring it to its end.")

    class Meta:
        db_table = "nexus_two_phase"
        verbose_name = "two-phase commit"
        constraints = [
            models.CheckConstraint(condition=models.Q(status__in=TwoPhaseStatus.values), name="nexus_two_phase_status")
        ]
        indexes = [
            models.Index(
                fields=["tried_at"], name="nexus_two_phase_open", condition=models.Q(status__in=OPEN_TWO_PHASE)
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.id.hex[-8:]})"


class BranchState(models.TextChoices):
    WAITING = "waiting"  # it has not voted
    PREPARED = "prepared"  # it voted yes, and keeps that
    REFUSED = "refused"  # it voted no
    COMMITTED = "committed"
    ABORTED = "aborted"
    HEURISTIC = "heuristic"  # ended by hand against the decision, or nobody can tell how


ENDED_BRANCHES = (BranchState.COMMITTED, BranchState.ABORTED, BranchState.HEURISTIC)


class TwoPhaseBranch(models.Model):
    """A participant's part in a run."""

    run = models.ForeignKey(TwoPhaseRun, on_delete=models.CASCADE, related_name="branches")
    name = models.CharField(max_length=100)
    agent = models.CharField(max_length=100)
    database = models.CharField(max_length=100, blank=True, default="", help_text="Alias, or empty for an agent.")
    xid = models.CharField(max_length=200, unique=True, help_text="Name of the prepared transaction.")
    transactions = models.CharField(
        max_length=400,
        blank=True,
        default="",
        help_text="The database's own number of each attempt, noted before it is prepared.",
    )
    state = models.CharField(max_length=9, choices=BranchState, default=BranchState.WAITING)
    reason = models.TextField(blank=True, default="")

    class Meta:
        db_table = "nexus_two_phase_branch"
        verbose_name = "participant of a two-phase commit"
        verbose_name_plural = "participants of two-phase commits"
        constraints = [models.UniqueConstraint(fields=["run", "name"], name="nexus_two_phase_branch_unique")]

    def __str__(self) -> str:
        return f"{self.name}: {self.state}"


class TwoPhaseInstallation(models.Model):
    """One row: what tells this installation's prepared transactions from those of others."""

    name = models.CharField(max_length=20, primary_key=True)
    identifier = models.CharField(max_length=12)
    epoch = models.IntegerField(default=1, help_text="Raised when the database was restored from a backup.")

    class Meta:
        db_table = "nexus_two_phase_installation"

    def __str__(self) -> str:
        return self.identifier
