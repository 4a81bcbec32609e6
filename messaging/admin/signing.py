"""Signing keys, never their private parts, and who changed them."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from messaging.admin import display
from messaging.admin.base import LogAdmin
from messaging.models import EncryptionKey, SigningChange, SigningExemption, SigningKey, SigningState, SigningUse
from messaging.security.encryption.keys import know as know_secret
from messaging.security.signatures.changing import messages_in_flight, signed_with
from messaging.security.signatures.encoding import to_base64url
from messaging.security.signatures.keys import know


@admin.register(SigningKey)
class SigningKeyAdmin(LogAdmin):
    """Keys are changed with ``manage.py nexus_keys``."""

    index_group = "Keys and tokens"
    list_display = ("kid", "signer", "agents", "algorithm", "coloured_state", display.time_column("created_at", "made"))
    list_filter = ("state",)
    word_searches = ("kid", "signer")
    search_help_text = "The exact name of a key, or of a process identity."
    fields = (
        "kid",
        "signer",
        "agents",
        "algorithm",
        "coloured_state",
        "public_part",
        "master",
        "problem",
        "created_at",
        "activated_at",
        "retired_at",
        "revoked_at",
        "expired_at",
        "in_flight",
    )
    readonly_fields = fields

    @admin.display(description="state")
    def coloured_state(self, key: SigningKey) -> SafeString:
        return display.state(key.state)

    @admin.display(description="public part")
    def public_part(self, key: SigningKey) -> str:
        return to_base64url(bytes(key.public)) or "none: HMAC"

    @admin.display(description="messages in flight that need it")
    def in_flight(self, key: SigningKey) -> int:
        return len(messages_in_flight(signed_with(key)))

    @admin.display(description="problem")
    def problem(self, key: SigningKey) -> str:
        """Why this process cannot use it."""
        return know(key).problem or "none"


@admin.register(EncryptionKey)
class EncryptionKeyAdmin(LogAdmin):
    """What data are encrypted with, never its secret. Changed with ``manage.py nexus_keys``."""

    list_display = ("kid", "algorithm", "coloured_state", display.time_column("created_at", "made"))
    list_filter = ("state",)
    ordering = ("-created_at",)
    word_searches = ("kid",)
    search_help_text = "The exact name of a key."
    fields = ("kid", "algorithm", "coloured_state", "master", "problem", "created_at", "retired_at", "revoked_at")
    readonly_fields = fields

    @admin.display(description="state")
    def coloured_state(self, key: EncryptionKey) -> SafeString:
        return display.state(key.state)

    @admin.display(description="problem")
    def problem(self, key: EncryptionKey) -> str:
        """Why this process cannot use it."""
        return know_secret(key).problem or "none"


@admin.register(SigningState)
class SigningStateAdmin(LogAdmin):
    """How strict the installation is, at least."""

    index_group = "Keys and tokens"
    list_display = ("mode", display.time_column("mode_since", "since"))
    fields = ("mode", "mode_since")
    readonly_fields = fields


@admin.register(SigningExemption)
class SigningExemptionAdmin(LogAdmin):
    """What was in flight when its key was revoked."""

    index_group = "Keys and tokens"
    list_display = ("message", "kid", "digest")
    id_searches = ("message",)
    word_searches = ("kid",)
    search_help_text = "A message's id, or the exact name of a key."


@admin.register(SigningChange)
class SigningChangeAdmin(LogAdmin):
    """Who changed what, and when."""

    list_display = (display.time_column("at", "time"), "who", "what", "kid", "detail")
    word_searches = ("kid", "who", "what")
    search_help_text = "The exact name of a key, of who changed it, or what was done."


@admin.register(SigningUse)
class SigningUseAdmin(LogAdmin):
    """How often each key signed, by hour and host."""

    list_display = (
        display.time_column("hour", "hour"),
        "kid",
        "signer",
        "host",
        "count",
        display.time_column("first_at", "first"),
        display.time_column("last_at", "last"),
    )
    ordering = ("-hour",)
    word_searches = ("kid", "signer", "host")
    search_help_text = "The exact name of a key, of a process identity, or of a host."
