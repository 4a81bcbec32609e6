"""What people see of encrypted data: that they are, unless they may read them, and then it is written down."""

from __future__ import annotations

import json
from io import StringIO
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from messaging.api import HandlerContext, TerminalError
from messaging.core.errors import ExportRefused
from messaging.models import DeadLetter, EncryptionKey, Message, OperatorAct, SigningChange, Workflow
from messaging.operators.exporting import export_json
from messaging.operators.recreating import export_test
from messaging.security.encryption import keys
from nexus_api.showing import show_message
from tests.support.lab import Lab
from tests.support.operators import make_client, page

SECRET = "Ada-Lovelace-4711"
LOOKING = ("view_message", "view_workflow", "view_deadletter", "view_delivery", "view_encryptionkey")


@pytest.fixture
def refused(lab: Lab) -> UUID:
    """A workflow with an encrypted message that its handler refused."""

    def refuse(message: object, context: HandlerContext) -> None:
        raise TerminalError("no")

    lab.configure(encrypted_types="test.*", edit_and_replay="on")
    lab.agent("clerk", refuse)
    workflow = lab.workflow()
    lab.send(workflow, "clerk", {"name": SECRET})
    lab.settle()
    return workflow


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def text_of(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return str(response.content.decode())


def test_who_may_not_read_them_sees_that_they_are_encrypted(lab: Lab, refused: UUID) -> None:
    client = make_client(LOOKING, staff=True)
    message, letter, key = Message.objects.get(), DeadLetter.objects.get(), EncryptionKey.objects.get()
    flow = Workflow.objects.get()
    shown = {
        page(Message, "change", message.pk): "A256KW",
        page(Workflow, "change", refused): "encrypted",
        page(DeadLetter, "change", letter.pk): "encrypted",
        page(EncryptionKey, "change", key.pk): key.kid,
    }
    for url, part in shown.items():
        text = text_of(client, url)
        assert (SECRET in text, part.replace("A256KW", "application/jose") in text) == (False, True), url
        assert keys.encrypting().require().hex() not in text
    clear = reverse("admin:nexus_message_clear", args=[message.pk])
    assert client.get(clear).status_code == 403
    assert clear not in text_of(client, page(Message, "change", message.pk))
    editing = make_client((*LOOKING, "change_deadletter", "edit_deadletter"), name="editor", staff=True)
    assert editing.get(reverse("admin:nexus_deadletter_edit", args=[letter.pk])).status_code == 403
    tail = run("nexus_tail", "--no-follow")
    exported = "".join(export_json(flow))
    for text in (
        tail,
        exported,
        run("nexus_dead_letters", "show", str(letter.pk)),
        json.dumps(show_message(message), default=str),
    ):
        assert (SECRET in text, "encrypted" in text or "jose" in text) == (False, True)
    with pytest.raises(ExportRefused, match="are encrypted"):
        export_test(flow)
    assert not OperatorAct.objects.exists()


def test_who_may_read_them_is_written_down(lab: Lab, refused: UUID) -> None:
    client = make_client((*LOOKING, "read_encrypted", "change_deadletter", "edit_deadletter"), name="ada", staff=True)
    message, letter = Message.objects.get(), DeadLetter.objects.get()
    clear = reverse("admin:nexus_message_clear", args=[message.pk])
    own = text_of(client, page(Message, "change", message.pk))
    assert (clear in own, SECRET in own) == (True, False)
    assert SECRET in text_of(client, clear)
    assert SECRET in text_of(client, reverse("admin:nexus_deadletter_edit", args=[letter.pk]))
    acts = OperatorAct.objects.order_by("pk").values_list("who", "action", "kind", "key")
    assert list(acts) == [
        ("ada", "read encrypted data", "message", str(message.pk)),
        ("ada", "read encrypted data", "deadletter", str(letter.pk)),
    ]
    keys.forget()
    lab.configure(master_key="cc" * 32)
    assert "cannot be used here" in text_of(client, clear)
    assert OperatorAct.objects.count() == 2


def test_the_command_changes_keys(lab: Lab, refused: UUID) -> None:
    first = EncryptionKey.objects.get().kid
    assert f"{first}  active" in run("nexus_keys", "list")
    run("nexus_keys", "rotate", "--encryption")
    second = EncryptionKey.objects.get(state="active").kid
    assert "encrypts nothing more" in run("nexus_keys", "retire", second)
    with pytest.raises(CommandError, match="cannot be retired"):
        run("nexus_keys", "retire", second)
    assert "is revoked" in run("nexus_keys", "revoke", first)
    run("nexus_keys", "rotate", "--encryption")
    third = EncryptionKey.objects.get(state="active").kid
    assert "From now on" in run("nexus_keys", "revoke", third, "--now")
    assert [row["state"] for row in json.loads(run("nexus_keys", "list", "--json"))[1:]] == [
        "revoked",
        "retired",
        "revoked",
        "active",
    ]
    run("nexus_keys", "reseal")
    done = SigningChange.objects.filter(kid__startswith="e").values_list("what", flat=True).order_by("pk")
    assert list(done) == ["created", "created", "retired", "revoked", "created", "created", "revoked"]
