"""Messages as handlers get them when verification has them cleaned."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from messaging.core.envelope import Envelope
from messaging.security.verification.cleaning import Finding
from messaging.security.verification.judging import Verifier
from messaging.security.verification.loading import verifier_in_force
from messaging.security.verification.settings import VerificationSettings
from messaging.security.verification.subject import VerificationSubject


def cleaned_envelope(envelope: Envelope, recipient: str, findings: Iterable[Finding]) -> Envelope:
    """A copy of a message without what rules found.

    Args:
        envelope: as it was signed; it is not changed.
        recipient: the agent that is to handle it.
        findings: what they found.

    Raises:
        ContentRulesError: the rules cannot be read.
    """
    subject = VerificationSubject(
        type=envelope.type,
        data=envelope.data,
        sender=envelope.source,
        recipient=recipient,
        workflow=str(envelope.workflow_id),
        at=envelope.time.timestamp(),
    )
    verifier = verifier_in_force() or Verifier(VerificationSettings())
    return msgspec.structs.replace(envelope, data=verifier.cleaned(subject, findings))
