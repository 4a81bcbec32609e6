"""Signing keys, the mode of signing that is recorded, what stays valid of keys that are not, and the audits."""

from __future__ import annotations

from uuid import uuid4

from django.db import models


class KeyState(models.TextChoices):
    PENDING = "pending"  # made, and does not sign yet
    ACTIVE = "active"  # signs and verifies
    RETIRED = "retired"  # verifies what it signed, and signs nothing more
    EXPIRED = "expired"  # retired for longer than the overlap: only what was in flight then is accepted
    REVOKED = "revoked"  # nothing stored since is accepted


class SigningMode(models.TextChoices):
    OFF = "off"  # nothing is signed or verified
    SIGN = "sign"  # signed, not verified
    REPORT = "report"  # verified; what fails is logged and handled all the same
    ENFORCE = "enforce"  # what fails is not handled

    @property
    def strictness(self) -> int:
        """0 for off, 3 for enforce."""
        return list(SigningMode).index(self)


class SigningKey(models.Model):
    """The public part in clear, the private part sealed under the master key. Change keys with ``nexus_keys``."""

    kid = models.CharField(max_length=64, primary_key=True)
    signer = models.CharField(max_length=100, help_text="The process identity that signs with it (NEXUS_SIGNER).")
    agents = models.TextField(default="*", help_text="Patterns of the agents that it may sign for, by commas.")
    algorithm = models.CharField(max_length=10)
    public = models.BinaryField(help_text="Empty for HMAC.")
    sealed = models.BinaryField(help_text="The private part, encrypted; empty where it is on its host only.")
    master = models.CharField(max_length=16, help_text="Which master key sealed and certified it.")
    certificate = models.BinaryField(help_text="Proves that a holder of the master key wrote this row.")
    state = models.CharField(max_length=7, choices=KeyState, default=KeyState.PENDING)
    created_at = models.DateTimeField()
    activated_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    expired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "nexus_signing_key"
        constraints = [
            models.UniqueConstraint(
                fields=["signer"], name="nexus_signing_key_active", condition=models.Q(state="active")
            ),
            models.CheckConstraint(condition=models.Q(state__in=KeyState.values), name="nexus_signing_key_state"),
        ]

    def __str__(self) -> str:
        return f"{self.signer} {self.kid}: {self.state}"


class SigningState(models.Model):
    """One row, ``id=1``: the strictest mode that was in force, and a token that every change of keys renews."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    token = models.UUIDField(default=uuid4, editable=False)
    mode = models.CharField(max_length=7, choices=SigningMode, default=SigningMode.OFF)
    mode_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "nexus_signing_state"
        verbose_name_plural = "signing state"
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="nexus_signing_state_single"),
            models.CheckConstraint(condition=models.Q(mode__in=SigningMode.values), name="nexus_signing_state_mode"),
        ]

    def __str__(self) -> str:
        return f"{self.mode} since {self.mode_since}"


class SigningExemption(models.Model):
    """A message that was in flight when its key was revoked, or when unsigned messages ceased to be accepted.

    This list is the log's order: what stands in it was stored before, whatever its own time says.
    """

    kid = models.CharField(max_length=64, blank=True, help_text="Empty for messages without a signature.")
    message = models.UUIDField()
    digest = models.CharField(max_length=64, help_text="SHA-256 of the envelope.")

    class Meta:
        db_table = "nexus_signing_exemption"
        constraints = [models.UniqueConstraint(fields=["message", "kid"], name="nexus_signing_exemption_unique")]

    def __str__(self) -> str:
        return f"{self.message} ({self.kid or 'unsigned'})"


class SigningChange(models.Model):
    """Who changed which key, or the mode."""

    at = models.DateTimeField()
    who = models.CharField(max_length=200)
    what = models.CharField(max_length=20)
    kid = models.CharField(max_length=64, blank=True, default="")
    detail = models.TextField(blank=True, default="")

    class Meta:
        db_table = "nexus_signing_change"
        verbose_name = "signing change"

    def __str__(self) -> str:
        return f"{self.what} {self.kid} by {self.who}"


class SigningUse(models.Model):
    """How often the processes of a host signed with a key within an hour."""

    hour = models.DateTimeField(help_text="Its first second.")
    kid = models.CharField(max_length=64)
    signer = models.CharField(max_length=100, help_text="The process identity (NEXUS_SIGNER).")
    host = models.CharField(max_length=255)
    count = models.BigIntegerField(help_text="Signatures, or messages encrypted, whether or not it was committed.")
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        db_table = "nexus_signing_use"
        verbose_name = "use of a signing key"
        verbose_name_plural = "uses of signing keys"
        constraints = [models.UniqueConstraint(fields=["hour", "kid", "host"], name="nexus_signing_use_unique")]

    def __str__(self) -> str:
        return f"{self.kid} at {self.hour:%Y-%m-%d %H}: {self.count}"
