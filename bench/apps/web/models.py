"""What the view saves."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """An order; its number is that of the request."""

    number = models.IntegerField()
    text = models.TextField()

    class Meta:
        app_label = "web"

    def __str__(self) -> str:
        return f"order {self.number}"
