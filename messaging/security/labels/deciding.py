"""Whether an agent may handle a message with these labels."""

from __future__ import annotations

from dataclasses import dataclass

from messaging.core.labels import Labels
from messaging.core.registry import AgentSpec


@dataclass(frozen=True, slots=True)
class Lowering:
    """What people decided about one message.

    Args:
        labels: what it counts as; None: as it is.
        approved: whether an agent that does all three may handle it.
    """

    labels: Labels | None = None
    approved: bool = False


NOTHING_LOWERED = Lowering()


@dataclass(frozen=True, slots=True)
class LabelRefusal:
    """Why a message is not handled.

    Args:
        labels: what is objected to.
        text: for people, without what to do.
        by_approval: whether an approval is enough; otherwise the message has to be endorsed.
    """

    labels: Labels
    text: str
    by_approval: bool


def objection(spec: AgentSpec, message: Labels, remembered: Labels, lowering: Lowering) -> LabelRefusal | None:
    """What speaks against handling a message.

    Args:
        spec: the agent.
        message: labels of the message, as they stand in its envelope.
        remembered: of what the agent handled before in this workflow.
        lowering: what people decided. Who endorsed the message saw where it goes, so what the agent remembers is not
            held against it.
    """
    labels = message | remembered if lowering.labels is None else lowering.labels
    if spec.accepts_labels is not None and (refused := spec.accepts_labels.refused(labels)):
        return LabelRefusal(refused, f"{spec.name} does not accept {refused}", by_approval=False)
    if spec.does_all_three and not lowering.approved:
        all_labels = labels | spec.own_labels
        if all_labels.origins and all_labels.private:
            return LabelRefusal(
                all_labels,
                f"{spec.name} reads untrusted content, sees private data and changes the outside, and here all three "
                f"are so ({all_labels}): a person has to approve",
                by_approval=True,
            )
    return None


def effective(message: Labels, lowering: Lowering) -> Labels:
    """What a message's labels count as."""
    return message if lowering.labels is None else lowering.labels
