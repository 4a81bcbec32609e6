"""The tools in ``unittest``'s style."""

from __future__ import annotations

import asyncio
import threading
from typing import ClassVar
from uuid import UUID

from asgiref.sync import sync_to_async
from django.test import TransactionTestCase

from messaging.api import Envelope, HandlerContext, HandlerKind, ReliableCommunicationBus
from messaging.models import Workflow
from messaging.testing import NexusTestCase, NexusTestMixin, stand_in
from messaging.testing.servers.waiting import wait_until
from messaging.transport.muting import may_publish


def answer(message: Envelope, context: HandlerContext) -> None:
    """Answers."""
    context.reply(message.data)


class OrdinaryTestCase(NexusTestCase):
    """In one transaction, which begins in ``setUpTestData``."""

    bus: ClassVar[ReliableCommunicationBus]
    workflow: ClassVar[UUID]

    @classmethod
    def setUpTestData(cls) -> None:
        cls.bus = ReliableCommunicationBus()
        cls.bus.register_agent("web")
        cls.workflow = cls.bus.start_workflow("test")

    def test_methods(self) -> None:
        self.enterContext(stand_in("echo", answer))
        self.assert_nothing_sent()
        self.bus.send(self.workflow, "echo", "test.message", 5, sender="web")
        self.assert_sent(recipient="echo", data=5)
        assert len(self.drain().processed) == 1
        assert [message.data for message in self.sent(recipient="web")] == [5]
        self.deliver("echo", "test.message", 6).assert_sent(data=6)

    async def test_an_async_test_drains_in_a_thread(self) -> None:
        async def answer_later(message: Envelope, context: HandlerContext) -> None:
            context.reply(await Workflow.objects.acount() + await asyncio.to_thread(Workflow.objects.count))

        with stand_in("echo", answer_later, kind=HandlerKind.LEASED):
            await sync_to_async(self.bus.send)(self.workflow, "echo", "test.message", sender="web")
            await sync_to_async(self.drain)()
        reply = await sync_to_async(self.assert_sent)(recipient="web")
        assert reply.data == 2
        assert await asyncio.to_thread(threading.get_ident) != threading.get_ident()  # the test's loop is as it was

    def test_another_test_sees_nothing_of_it(self) -> None:
        self.assert_nothing_sent()

    def test_nothing_is_published_by_committing(self) -> None:
        with stand_in("echo"):
            self.bus.send(self.workflow, "echo", "test.message", sender="web")  # the first one makes a signing key
            with self.captureOnCommitCallbacks(execute=True) as callbacks:
                self.bus.send(self.workflow, "echo", "test.message", sender="web")
        assert len(callbacks) == 1
        assert "nexus-publisher" not in {thread.name for thread in threading.enumerate()}


class PublishingTestCase(NexusTestMixin, TransactionTestCase):
    """With real commits, to the configured broker."""

    publish_to_broker = True

    def test_what_is_committed_is_published(self) -> None:
        bus = ReliableCommunicationBus()
        bus.register_agent("web")
        assert may_publish()
        with stand_in("echo"):
            bus.send(bus.start_workflow("test"), "echo", "test.message", sender="web")
        wait_until(
            lambda: "nexus-publisher" in {thread.name for thread in threading.enumerate()}, 5, "the publisher's thread"
        )
        assert len(self.sent()) == 1
