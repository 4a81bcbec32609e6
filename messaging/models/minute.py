"""MinuteFigures: what happened in one minute, counted once so that charts of a week read few rows."""

from __future__ import annotations

from django.db import models


class MinuteFigures(models.Model):
    """Written by the relay soon after the minute, and again until all that was sent in it is settled."""

    minute = models.DateTimeField(primary_key=True, help_text="Its first second.")
    messages = models.IntegerField(default=0, help_text="That were sent in it.")
    deliveries = models.IntegerField(default=0, help_text="Of those messages.")
    handled = models.IntegerField(default=0, help_text="Of those deliveries, whenever it was.")
    given_up = models.IntegerField(default=0, help_text="Of those deliveries: dead, cancelled or expired.")
    median_seconds = models.FloatField(null=True, blank=True, help_text="From sent to handled.")
    slowest_seconds = models.FloatField(null=True, blank=True, help_text="From sent to handled: 99 of 100 are faster.")

    class Meta:
        db_table = "nexus_minute_figures"
        verbose_name_plural = "minute figures"
        indexes = [
            models.Index(
                fields=["minute"],
                name="nexus_minute_unsettled",
                condition=models.Q(deliveries__gt=models.F("handled") + models.F("given_up")),
            )
        ]

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%d %H:%M}"
