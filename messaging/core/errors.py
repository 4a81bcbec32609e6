"""Every error that Nexus raises, in one tree.

    NexusError
    ├── ConfigurationError          the settings or the topology cannot work
    │   ├── TopologyMismatch        a queue exists with other arguments
    │   ├── NameTaken               another agent or group has that name
    │   ├── LabelsLoosened          an external agent would be contained less than before
    │   ├── AccessPolicyError       an access policy cannot work; names the place
    │   ├── ContentRulesError       rules about content cannot work; names the place
    │   └── SagaDefinitionError     a file defines no saga that can run; names the place
    ├── EnvelopeError               bytes or values that are no valid envelope
    │   └── EnvelopeTooLarge
    ├── SendError                   a message was refused before it was stored
    │   ├── UnknownAgent
    │   │   └── NotExternal
    │   ├── UnknownGroup
    │   ├── UnknownWorkflow
    │   ├── WorkflowClosed
    │   ├── WorkflowLimit
    │   ├── MailboxFull
    │   ├── SchemaViolation         the data do not follow the schema of their type
    │   ├── ContentRefused          the data have what the content rules refuse
    │   ├── NotAccepted             the inbox does not take it from a program outside
    │   └── NotAuthorized           the access policy does not allow it
    ├── SchemaError                 a schema, its name or an upcaster cannot be used as it stands
    │   ├── UnknownSchema
    │   ├── IncompatibleSchema      a new version breaks what is in flight or stored
    │   └── UpcastFailed
    ├── BrokerError                 the transport failed; stored messages are safe
    │   ├── BrokerUnavailable
    │   └── BrokerBlocked
    ├── HandlerError                raised by handlers to say what they want
    │   ├── TransientError          try again later
    │   │   └── CircuitOpen         what is to be called keeps failing and is left alone for a while
    │   ├── TerminalError           never try again
    │   │   └── UnreadableData      a message's data cannot be made what its agent takes
    │   ├── StepFailed              a step of a saga cannot be done
    │   └── VoteNo                  a participant of a two-phase commit cannot commit
    ├── WorkflowBlocked             a parked workflow waits for its dead letters to be dealt with
    ├── UnknownDelivery             the log has no such delivery
    ├── LeaseLost                   another worker took over a leased delivery
    ├── ReplayError                 a dead letter cannot be replayed
    ├── UnknownSaga                 there is no such saga
    ├── UnknownTransaction          there is no such two-phase commit, or none that can be decided so
    └── ReplyTimeout                request() got no reply in time
        └── WaitCycle               handlers wait for one another; a TerminalError too

Each message says what happened, to which object, and what to do.
"""

from __future__ import annotations


class NexusError(Exception):
    """Base of everything that Nexus raises."""


class ConfigurationError(NexusError):
    """The settings or the topology cannot work as they stand."""


class TopologyMismatch(ConfigurationError):
    """A queue or exchange exists on the broker with other arguments than the ones configured."""


class NameTaken(ConfigurationError):
    """An agent or a group has that name already. Agents and groups share their names."""


class LabelsLoosened(ConfigurationError):
    """An external agent declares less of what it does, or accepts more, than it did before."""


class AccessPolicyError(ConfigurationError):
    """An access policy cannot work.

    Args:
        problem: what is wrong and what to write instead.
        path: where in the policy, such as ``grants[2].sender``.
        source: the file's name, if it came from one.
        line: the line in it, from 1.
    """

    def __init__(self, problem: str, *, path: str = "", source: str = "", line: int | None = None) -> None:
        place = ", ".join(part for part in (source, f"line {line}" if line else "", path) if part)
        super().__init__(f"{place}: {problem}" if place else problem)
        self.problem, self.path, self.source, self.line = problem, path, source, line


class ContentRulesError(ConfigurationError):
    """Rules about what messages carry cannot work.

    Args:
        problem: what is wrong and what to write instead.
        path: where in the rules, such as ``patterns[2].regex``.
        source: the file's name, if they came from one.
        line: the line in it, from 1.
    """

    def __init__(self, problem: str, *, path: str = "", source: str = "", line: int | None = None) -> None:
        place = ", ".join(part for part in (source, f"line {line}" if line else "", path) if part)
        super().__init__(f"{place}: {problem}" if place else problem)
        self.problem, self.path, self.source, self.line = problem, path, source, line


class SagaDefinitionError(ConfigurationError):
    """A file defines no saga that can run.

    Args:
        problem: what is wrong and what to write instead.
        path: where in the file, such as ``steps[2].do``.
        source: the file's name, if it came from one.
        line: the line in it, from 1.
    """

    def __init__(self, problem: str, *, path: str = "", source: str = "", line: int | None = None) -> None:
        place = ", ".join(part for part in (source, f"line {line}" if line else "", path) if part)
        super().__init__(f"{place}: {problem}" if place else problem)
        self.problem, self.path, self.source, self.line = problem, path, source, line


class EnvelopeError(NexusError):
    """Bytes or values that are no valid envelope.

    Args:
        attribute: the envelope attribute at fault, such as ``"time"`` or ``"data.items[2]"``; ``"envelope"`` for the
            whole.
        problem: what is wrong with it and what is expected.
    """

    def __init__(self, attribute: str, problem: str) -> None:
        super().__init__(f"{attribute}: {problem}")
        self.attribute = attribute
        self.problem = problem


class EnvelopeTooLarge(EnvelopeError):
    """The envelope is longer than the configured limit (``NEXUS["MAX_MESSAGE_BYTES"]``)."""


class SendError(NexusError):
    """A message was refused before anything was stored."""


class UnknownAgent(SendError):
    """No agent of that name is registered."""


class NotExternal(UnknownAgent):
    """No agent of that name is registered as one whose handler runs outside."""


class UnknownGroup(SendError):
    """No group of that name exists."""


class UnknownWorkflow(SendError):
    """No workflow with that id exists."""


class WorkflowClosed(SendError):
    """The workflow is completed, cancelled or expired and takes no more messages."""


class WorkflowLimit(SendError):
    """The workflow reached its limit of messages."""


class MailboxFull(SendError):
    """The recipient's mailbox holds as many unhandled messages as its limit allows."""


class LabelError(SendError):
    """Labels are written wrongly, cannot be lowered like that, or the data are not what an extraction allows."""


class SchemaViolation(SendError):
    """The data of a message do not follow the schema of its type, or its type has none and must have one.

    Args:
        type, version: the schema; version 0 when there is none.
        problems: one line each: the JSON pointer and what is expected there. Never the value.
    """

    def __init__(self, type: str, version: int, problems: tuple[str, ...]) -> None:
        super().__init__(f"Message type {type!r}, version {version or 'none'}: {'; '.join(problems)}")
        self.type = type
        self.version = version
        self.problems = problems


class ContentRefused(SendError):
    """The data of a message have what the content rules refuse.

    Args:
        type: of the message.
        problems: one line each: the JSON pointer and the rule. Never the text.
    """

    def __init__(self, type: str, problems: tuple[str, ...]) -> None:
        super().__init__(
            f"Message type {type!r}: {'; '.join(problems)}. Take it out of the data, or change the content rules "
            "(NEXUS_CONTENT_RULES)."
        )
        self.type = type
        self.problems = problems


class NotAccepted(SendError):
    """The inbox does not take an event from a program outside; says why."""


class NotAuthorized(SendError):
    """The access policy does not allow the sender to send this to a recipient; says what decided."""


class SchemaError(NexusError):
    """A schema, the name of one, or an upcaster cannot be used as it stands."""


class UnknownSchema(SchemaError):
    """No schema is registered for that type and version."""


class IncompatibleSchema(SchemaError):
    """A new version of a schema breaks older ones, or is not proven to keep them."""


class UpcastFailed(SchemaError):
    """A message's data could not be brought to a newer version."""


class MayNotSignFor(SendError):
    """This process may not speak for the sender that was named."""


class SigningKeyError(NexusError):
    """A signing key, or the master key over it, cannot be used as asked."""


class BadSignature(NexusError):
    """A signature does not prove what it should."""


class EncryptionKeyError(SigningKeyError):
    """An encryption key is there and cannot be used here and now, or not as asked."""


class NotDecrypted(NexusError):
    """Encrypted data do not open, or data are in clear that must not be."""


class BrokerError(NexusError):
    """The transport failed. Stored messages are safe: the relay publishes them later."""


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached or dropped the connection."""


class BrokerBlocked(BrokerError):
    """The broker takes no messages for now (memory or disk alarm)."""


class HandlerError(NexusError):
    """Raised by a handler to say what should become of its message."""


class TransientError(HandlerError):
    """Try again later: something outside failed that is expected to recover.

    Args:
        retry_after: seconds to wait at least, or None for the retry policy's own delay.
    """

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CircuitOpen(TransientError):
    """What is to be called keeps failing and is left alone for a while (see ``messaging.core.breaker``)."""


class TerminalError(HandlerError):
    """Never try again: the message itself cannot be handled."""


class WorkflowBlocked(NexusError):
    """A parked workflow cannot go on: dead letters that are open stand before all that waits in it."""


class StepFailed(HandlerError):
    """Raised by a participant: the step cannot be done, and nothing of it was done. The saga compensates.

    Args:
        reason: for people.
        retry: try again first, as often as the step's ``retries`` say.
    """

    def __init__(self, reason: str, *, retry: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry = retry


class VoteNo(HandlerError):
    """Raised by a participant: it cannot commit, and keeps nothing. The two-phase commit is aborted.

    Args:
        reason: for people.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnknownSaga(NexusError):
    """There is no saga with that id."""


class UnknownTransaction(NexusError):
    """There is no two-phase commit or prepared transaction of that name, or it cannot be decided like that."""


class UnreadableData(TerminalError):
    """A message's data cannot be brought to the version, or made the object, that its agent takes."""


class UnknownDelivery(NexusError):
    """The log has no delivery with that id."""


class LeaseLost(NexusError):
    """The lease on a delivery expired and another worker may have taken it over; its result is not stored."""


class ReplayError(NexusError):
    """A dead letter cannot be put back as asked."""


class ForkRefused(NexusError):
    """A workflow cannot be forked there."""


class ExportRefused(NexusError):
    """A workflow cannot be made a test case of."""


class SkipRefused(NexusError):
    """A message cannot be left out as asked."""


class ReplyTimeout(NexusError):
    """No reply came within the timeout. The request stays in the log and is still handled."""


class WaitCycle(ReplyTimeout, TerminalError):
    """The reply needs the handler that waits for it, which is the last of the circle: it gives way, and is not tried
    again.
    """


class QuarantineError(NexusError):
    """A verdict cannot be decided about as asked."""
