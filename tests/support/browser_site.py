"""``python -m tests.support.browser_site``: people, orders, some of which fail, and chats that wait for a person."""

from __future__ import annotations

import django

PEOPLE = {"root": "", "olga": "Nexus operators", "vera": "Nexus viewers"}
"""Names, which are the passwords too, and their groups; the first may do everything."""
ORDERS = 7
"""Each third of them fails."""
CHATS = 2


def main() -> None:
    """Make them."""
    django.setup()
    from django.contrib.auth.models import Group, User

    from agents.api import MaxRounds, Member, ReliableNexusGroupChatManager, TeamDefinition
    from messaging.api import ReliableCommunicationBus

    for name, group in PEOPLE.items():
        user = User.objects.create_user(name, password=name, is_staff=True, is_superuser=not group)
        if group:
            user.groups.add(Group.objects.get(name=group))
    bus = ReliableCommunicationBus()
    bus.register_agent("web")
    for order in range(1, ORDERS + 1):
        data = {"order": order, "goods": ["tea", "honey"]} | ({"account": f"A-{order}"} if order % 3 else {})
        bus.send(bus.start_workflow(f"Order {order}"), "clerk", "order.new", data, sender="web")
    team = TeamDefinition(name="letters", members=(Member(name="writer", approval=True),), termination=MaxRounds(1))
    for number in range(CHATS):
        ReliableNexusGroupChatManager(bus).start_chat(team, f"Tell customer {number + 1} that the order is on its way.")
    bus.close()


if __name__ == "__main__":
    main()
