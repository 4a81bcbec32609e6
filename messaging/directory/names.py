"""Who a recipient's name stands for."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from django.utils import timezone

from messaging.core.errors import NameTaken, UnknownAgent, UnknownGroup
from messaging.core.names import is_agent_name
from messaging.core.registry import WORKER_KINDS, HandlerKind, registry
from messaging.models import POLLED_STATES, Agent, AgentGroup, Delivery, DeliveryState, GroupMember

REMEMBER = 5.0
"""Seconds that another process's agent is remembered without asking the database."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """An agent that gets a delivery.

    Args:
        agent: its name.
        kind: of its handler, which says where its deliveries wait; None for a program without handler, which reads
            them from the log.
    """

    agent: str
    kind: HandlerKind | None


_remembered: dict[str, tuple[float, Recipient]] = {}


def forget() -> None:
    """Ask the database again for every name."""
    _remembered.clear()


def _recipient(name: str, kind: str | None) -> Recipient:
    return Recipient(name, None if kind is None else HandlerKind(kind))


def _known_agent(name: str) -> Recipient | None:
    spec = registry.get(name)
    if spec is not None:
        return Recipient(name, spec.kind)
    until, recipient = _remembered.get(name, (0.0, None))
    if recipient is not None and until > monotonic():
        return recipient
    agent = Agent.objects.filter(name=name).only("kind").first()
    if agent is None:
        return None
    recipient = _recipient(name, agent.kind)
    if len(_remembered) > 10_000:
        forget()
    _remembered[name] = (monotonic() + REMEMBER, recipient)
    return recipient


def kind_elsewhere(name: str, kind: HandlerKind) -> HandlerKind | None:
    """Of which kind an agent is whose messages came to a process that handles ``kind``; None where it is its own, or
    that of an agent which only other workers know.
    """
    found = _known_agent(name)
    if found is None or found.kind in (None, kind):
        return None
    return found.kind if found.kind is HandlerKind.EXTERNAL or registry.get(name) is not None else None


def resolve(name: str, *, sender: str) -> list[Recipient]:
    """Say which agents a message to ``name`` goes to.

    Args:
        name: an agent's or a group's name.
        sender: left out of a group that it belongs to.

    Raises:
        UnknownAgent: neither an agent nor a group has that name.
    """
    agent = _known_agent(name)
    if agent is not None:
        return [agent]
    members = list(
        GroupMember.objects.filter(group=name)
        .exclude(agent=sender)
        .order_by("agent")
        .values_list("agent", "agent__kind")
    )
    if not members and not AgentGroup.objects.filter(name=name).exists():
        raise UnknownAgent(
            f"No agent or group is named {name!r}.{registry.suggest(name, known_names())} "
            "Register the agent (bus.register_agent, or <app>.nexus_agents for workers) or create the group first."
        )
    return [_recipient(member, kind) for member, kind in members]


def known_names() -> set[str]:
    """The names of all agents and groups that any process ever registered."""
    return {*Agent.objects.values_list("name", flat=True), *AgentGroup.objects.values_list("name", flat=True)}


def require_handler(name: str) -> None:
    """Refuse a name unless it is that of an agent which has a handler, in any process.

    Raises:
        UnknownAgent: says what has that name instead, or which name is meant, perhaps.
    """
    if not isinstance(name, str):
        raise UnknownAgent(f"An agent's name is expected, not an object of type {type(name).__qualname__}.")
    if registry.get(name) is not None:
        return
    handled = Agent.objects.filter(kind__isnull=False)
    known = is_agent_name(name)
    if known and handled.filter(name=name).exists():
        return
    if known and Agent.objects.filter(name=name).exists():
        raise UnknownAgent(f"{name!r} is a program that reads its messages itself, without handler.")
    if known and AgentGroup.objects.filter(name=name).exists():
        members = ", ".join(GroupMember.objects.filter(group=name).order_by("agent").values_list("agent", flat=True))
        raise UnknownAgent(f"{name!r} is a group, not an agent. Name its members: {members or 'it has none'}.")
    raise UnknownAgent(f"No agent is named {name!r}.{registry.suggest(name, handled.values_list('name', flat=True))}")


def refuse_name_of_group(name: str) -> None:
    """Refuse what a new agent cannot be called.

    Raises:
        NameTaken: it is a group's name.
    """
    if AgentGroup.objects.filter(name=name).exists():
        raise NameTaken(f"{name!r} is a group's name already. Agents and groups share their names; choose another.")


def refuse_name_of_agent(name: str) -> None:
    """Refuse what a new group cannot be called.

    Raises:
        NameTaken: it is an agent's name, in this process or in the database.
    """
    if _known_agent(name) is not None:
        raise NameTaken(f"{name!r} is an agent's name already. Agents and groups share their names; choose another.")


def eclipsed_groups() -> list[str]:
    """Groups that have the name of an agent which came later: nothing reaches them, because the agent gets it."""
    agents = {spec.name for spec in registry} | set(Agent.objects.values_list("name", flat=True))
    return sorted(agents.intersection(AgentGroup.objects.values_list("name", flat=True)))


def save_agent(name: str, kind: HandlerKind | None, description: str = "") -> None:
    """Write down an agent, so that other processes can send to it. It wins over a group of the same name.

    Args:
        name: its name.
        kind: of its handler; None for a program that has none. One that leases its messages goes on doing so.
        description: for operators.
    """
    before = Agent.objects.filter(name=name).values_list("kind", flat=True).first()
    if before == HandlerKind.EXTERNAL and kind is None:
        return
    Agent.objects.update_or_create(name=name, defaults={"kind": kind and kind.value, "description": description})
    _remembered.pop(name, None)
    if before == HandlerKind.EXTERNAL and kind in WORKER_KINDS:
        take_inside(name, kind)


def take_inside(name: str, kind: HandlerKind) -> None:
    """Have the broker carry what waits in the log for an agent that was external.

    Args:
        name: its name.
        kind: of its handler in the workers.
    """
    waiting = Delivery.objects.filter(agent=name, queue=HandlerKind.EXTERNAL.value)
    waiting.filter(state=DeliveryState.SENT).update(
        queue=kind.value, state=DeliveryState.PENDING, available_at=timezone.now()
    )
    waiting.filter(state__in=[*POLLED_STATES, DeliveryState.DEAD, DeliveryState.QUARANTINED]).update(queue=kind.value)


def save_registered_agents() -> None:
    """Write down every agent of this process's registry. Consumers do this before they subscribe.

    A group that somebody gave the name of one of them meanwhile does not stop the worker and all its other agents: the
    agent gets the messages, and nexus.W007 says so.
    """
    known = dict(Agent.objects.values_list("name", "kind"))
    for spec in registry:
        if known.get(spec.name) != spec.kind.value:
            save_agent(spec.name, spec.kind, spec.description)


def create_group(name: str) -> None:
    """Create a group unless it exists.

    Raises:
        NameTaken: the name is an agent's.
    """
    refuse_name_of_agent(name)
    AgentGroup.objects.get_or_create(name=name)


def add_member(group: str, agent: str) -> None:
    """Add an agent to a group; harmless when it is a member.

    Raises:
        UnknownGroup: no group has that name.
        UnknownAgent: no agent has that name.
    """
    if not AgentGroup.objects.filter(name=group).exists():
        raise UnknownGroup(f"No group is named {group!r}. Create it first (bus.create_group).")
    spec = registry.get(agent)
    if spec is not None:
        Agent.objects.get_or_create(name=agent, defaults={"kind": spec.kind.value})
    elif not Agent.objects.filter(name=agent).exists():
        raise UnknownAgent(f"No agent is named {agent!r}. Register it first (bus.register_agent).")
    GroupMember.objects.get_or_create(group_id=group, agent_id=agent)


def remove_member(group: str, agent: str) -> None:
    """Take an agent out of a group; harmless when it is none of its members."""
    GroupMember.objects.filter(group=group, agent=agent).delete()
