"""Agent cards: who has one, what it says, and that it is signed as clients verify it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from nacl.signing import VerifyKey
from pytest_django.fixtures import Settings

from nexus_a2a.signing import canonical
from tests.support.a2a import TEAM

CARD = f"/a2a/teams/{TEAM}/.well-known/agent-card.json"


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verified(card: dict[str, Any]) -> list[str]:
    """The algorithms of a card's signatures, all of which hold."""
    signatures = card.pop("signatures")
    payload = base64.urlsafe_b64encode(canonical(card).encode()).rstrip(b"=")
    known = {key["kid"]: key for key in Client().get("/a2a/keys").json()["keys"]}
    algorithms = []
    for signature in signatures:
        header = json.loads(decode(signature["protected"]))
        assert header["jku"] == "http://testserver/a2a/keys"
        key, signed = known[header["kid"]], signature["protected"].encode() + b"." + payload
        assert key["alg"] == header["alg"]
        if header["alg"] == "EdDSA":
            VerifyKey(decode(key["x"])).verify(signed, decode(signature["signature"]))
        else:
            verify_es256(key, signed, decode(signature["signature"]))
        algorithms.append(header["alg"])
    return algorithms


def verify_es256(key: dict[str, str], signed: bytes, signature: bytes) -> None:
    hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    x, y = (int.from_bytes(decode(key[name]), "big") for name in "xy")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    public.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))


def test_a_card_is_public_and_signed() -> None:
    response = Client().get(CARD)
    card = response.json()
    assert "max-age" in response["Cache-Control"]
    assert Client().get(CARD, headers={"If-None-Match": response["ETag"]}).status_code == 304
    interface = {"protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    assert card["supportedInterfaces"] == [{"url": f"http://testserver/a2a/teams/{TEAM}", **interface}]
    assert "echo" not in response.content.decode()  # who its members are is nobody's business
    assert Client().get("/.well-known/agent-card.json").json()["name"] == TEAM
    assert verified(card) == ["EdDSA"]


def test_a_second_signature_for_older_clients(settings: Settings, tmp_path: Path) -> None:
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    from cryptography.hazmat.primitives import serialization

    file = tmp_path / "card.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    settings.NEXUS = {**settings.NEXUS, "A2A_CARD_KEY_FILE": str(file)}
    assert verified(Client().get(CARD).json()) == ["EdDSA", "ES256"]


def test_without_signing_a_card_has_no_signature(settings: Settings) -> None:
    settings.NEXUS = {**settings.NEXUS, "SIGNING": "off"}
    assert "signatures" not in Client().get(CARD).json()


def test_only_named_teams_have_cards(settings: Settings) -> None:
    settings.NEXUS = {**settings.NEXUS, "A2A_TEAMS": ""}
    for path in (CARD, "/.well-known/agent-card.json"):
        assert Client().get(path).status_code == 404


def test_a_team_that_cannot_work_is_not_available(settings: Settings) -> None:
    settings.NEXUS = {**settings.NEXUS, "A2A_TEAMS": "gone"}
    assert Client().get("/a2a/teams/gone/.well-known/agent-card.json").status_code == 503


def test_canonical_form() -> None:
    assert canonical({"é": "\u0001\n\u007f", "\U0001f600": None, "\uff5e": []}) == (
        '{"é":"\\u0001\\n\u007f","\U0001f600":null,"\uff5e":[]}'
    )
    with pytest.raises(TypeError):
        canonical({"a": 1.0})
