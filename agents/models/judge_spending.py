"""What judging messages by a model cost."""

from __future__ import annotations

from django.db import models


class JudgeSpending(models.Model):
    """Calls and tokens of one day, for one team and rule. What is reserved counts until the call is over."""

    day = models.DateField(help_text="UTC.")
    team = models.CharField(max_length=100, blank=True, help_text="Empty: sender and recipient share none.")
    rule = models.CharField(max_length=100, help_text="Its name in the settings.")
    calls = models.PositiveIntegerField(default=0)
    tokens = models.PositiveBigIntegerField(default=0)

    class Meta:
        db_table = "nexus_judge_spending"
        verbose_name_plural = "judge spending"
        constraints = [models.UniqueConstraint(fields=["day", "team", "rule"], name="nexus_judge_spending_once")]

    def __str__(self) -> str:
        return f"{self.day} {self.team or 'no team'}: {self.calls} calls"
