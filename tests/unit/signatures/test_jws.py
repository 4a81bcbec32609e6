"""The format of signatures: what is accepted is what was signed, and nothing else is."""

from __future__ import annotations

import base64
import json
import os
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.core.errors import BadSignature
from messaging.security.signatures import jws
from messaging.security.signatures.algorithms import Algorithm, SigningPart, VerifyingPart, public_part
from messaging.security.signatures.encoding import from_base64url, to_base64url
from messaging.security.signatures.routing import routing_digest
from tests.support.corpora import jose_cookbook

FORGERIES = int(os.environ.get("SIGNATURE_FORGERIES", "3000"))
"""The long form: SIGNATURE_FORGERIES=100000."""

SECRETS = {"one": b"\x01" * 32, "two": b"\x02" * 32, "shared": b"\x03" * 32}
ALGORITHMS = {"one": Algorithm.ED25519, "two": Algorithm.ED25519, "shared": Algorithm.HS256}
SIGNERS = {name: SigningPart.load(ALGORITHMS[name], secret) for name, secret in SECRETS.items()}
VERIFIERS = {
    name: VerifyingPart.load(ALGORITHMS[name], public_part(ALGORITHMS[name], secret) or secret)
    for name, secret in SECRETS.items()
}


def sign(key: str, payload: bytes, to: str = "") -> str:
    return jws.sign(SIGNERS[key], key, payload, to)


def accepted(signature: str, payload: bytes) -> bool:
    try:
        jws.verify(signature, payload, VERIFIERS.get)
    except BadSignature:
        return False
    return True


@given(st.binary(max_size=2_000), st.sampled_from(sorted(SECRETS)))
def test_what_was_signed_is_accepted(payload: bytes, key: str) -> None:
    header = jws.verify(sign(key, payload), payload, VERIFIERS.get)
    assert (header.key, header.algorithm, header.to) == (key, ALGORITHMS[key].value, "")
    to = routing_digest([("a", 1)])
    assert jws.verify(sign(key, payload, to), payload, VERIFIERS.get).to == to


@pytest.mark.parametrize("size", [128_001, 200_000, 262_144])
def test_long_messages_verify(size: int) -> None:
    payload = b"x" * size
    signature = sign("one", payload)
    assert accepted(signature, payload)
    assert not accepted(signature, payload[:-1] + b"y")


def _header(**members: Any) -> str:
    return to_base64url(json.dumps(members).encode())


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "x5t", "crit", "b64", "zip", "typ"])
def test_nothing_else_may_stand_in_the_header(name: str) -> None:
    header = _header(alg="Ed25519", kid="one", **{name: ["b64"]})
    raw = SIGNERS["one"].sign(jws.signing_input(header, b"x"))
    with pytest.raises(BadSignature, match=name):
        jws.verify(f"{header}..{to_base64url(raw)}", b"x", VERIFIERS.get)


@pytest.mark.parametrize("algorithm", ["none", "None", "", "EdDSA", "HS256", "ed25519", "ES256", None, 1, ["Ed25519"]])
def test_the_algorithm_is_the_key_s(algorithm: Any) -> None:
    header = _header(alg=algorithm, kid="one")
    raw = SIGNERS["one"].sign(jws.signing_input(header, b"x"))
    for signature in (to_base64url(raw), to_base64url(b"\0"), to_base64url(b"\0" * 64)):
        assert not accepted(f"{header}..{signature}", b"x")
    assert not accepted(f"{header}..", b"x")


def test_a_public_key_is_no_hmac_secret() -> None:
    secret = public_part(Algorithm.ED25519, SECRETS["one"])
    for value in (secret, to_base64url(secret).encode()):
        forger = SigningPart.load(Algorithm.HS256, value)
        assert not accepted(jws.sign(forger, "one", b"x"), b"x")


@given(st.text(max_size=200))
def test_garbage_is_refused_with_words(text: str) -> None:
    assert not accepted(text, b"x")
    assert not accepted(f"{text}..{text}", b"x")
    assert not accepted(sign("one", b"x") + text + ".", b"x")


def test_a_text_has_one_signature_only() -> None:
    """No second form of the same signature: neither padding, nor stray bits, nor a second order of the header."""
    good = sign("one", b"x")
    header, _, raw = good.split(".")
    assert accepted(good, b"x")
    for other in (f"{good}=", f"{good}==", f"{good}\n", f" {good}", f"{header}=..{raw}", f"{header}..{raw[:-1]}B"):
        assert not accepted(other, b"x")
    order = 2**252 + 27742317777372353535851937790883648493
    signature = from_base64url(raw)
    s = int.from_bytes(signature[32:], "little") + order
    assert not accepted(f"{header}..{to_base64url(signature[:32] + s.to_bytes(32, 'little'))}", b"x")
    assert not accepted("x" * 3_000, b"x")


def test_of_many_forgeries_none_is_accepted_and_of_many_signatures_each() -> None:
    chance = random.Random(7)
    payloads = [b'{"id":%d,"position":%d}' % (number, chance.randrange(1, 50)) for number in range(50)]
    digests = [routing_digest([("a", number), ("b", 1)]) for number in range(50)]
    signed = [
        (key, p, to, sign(key, p, to)) for key in SECRETS for p in payloads for to in ("", chance.choice(digests))
    ]
    passed = sum(accepted(signature, payload) for _, payload, _, signature in signed for _ in range(3))
    assert passed == 3 * len(signed)
    through = []
    for _ in range(FORGERIES):
        key, payload, _, signature = chance.choice(signed)
        forged, body = _forge(chance, signed, key, payload, signature)
        if (forged, body) != (signature, payload) and accepted(forged, body):
            through.append((forged, body))
    assert [pair for pair in through if pair not in {(s, p) for _, p, _, s in signed}] == []


def _forge(chance: random.Random, signed: list[Any], key: str, payload: bytes, signature: str) -> tuple[str, bytes]:
    header, _, raw = signature.split(".")
    other_key, other_payload, _, other = chance.choice(signed)
    match chance.randrange(8):
        case 0:  # a bit of the bytes
            place = chance.randrange(len(payload))
            return signature, payload[:place] + bytes([payload[place] ^ 1 << chance.randrange(8)]) + payload[
                place + 1 :
            ]
        case 1:  # a character of the signature
            place = chance.randrange(len(signature))
            letter = chance.choice("ABCxyz019-_.=")
            return signature[:place] + letter + signature[place + 1 :], payload
        case 2:  # cut
            return signature[: chance.randrange(len(signature))], payload
        case 3:  # on other bytes
            return signature, other_payload if other_payload != payload else payload + b" "
        case 4:  # the header of another signature
            return f"{other.split('.')[0]}..{raw}", payload
        case 5:  # signed by another valid key under this one's name
            wrong = next(name for name in SECRETS if name != key)
            return f"{header}..{to_base64url(SIGNERS[wrong].sign(jws.signing_input(header, payload)))}", payload
        case 6:  # another algorithm
            claimed = chance.choice(["none", "HS256", "EdDSA", "Ed25519", "RS256"])
            if claimed == ALGORITHMS[key].value:
                claimed = "none"
            new = _header(alg=claimed, kid=key)
            secret = public_part(Algorithm.ED25519, SECRETS["one"])
            return jws.sign(SigningPart.load(Algorithm.HS256, secret), key, payload).replace(header, new), payload
        case _:  # an unknown, or no, key
            new = _header(alg="Ed25519", kid=chance.choice(["", "zero", other_key + " "]))
            return f"{new}..{to_base64url(SIGNERS[key].sign(jws.signing_input(new, payload)))}", payload


def test_routing_binds_names_positions_and_their_order() -> None:
    base = [("a", 1), ("b", 2)]
    others: list[list[tuple[str, int]]] = [
        [("b", 2), ("a", 1)],
        [("a", 2), ("b", 1)],
        [("a", 1)],
        [("a", 1), ("b", 2), ("c", 1)],
        [("a1", 1), ("b", 2)],
        [("a,1;1:b", 2)],
        [],
    ]
    assert len({routing_digest(places) for places in [base, *others]}) == len(others) + 1


# --- public examples ---


def test_the_cookbook_s_hmac_signatures_are_reproduced() -> None:
    examples = jose_cookbook("jws")
    for name in ("4_4.hmac-sha2_integrity_protection", "4_5.signature_with_detached_content"):
        example = examples[name]
        secret = from_base64url(example["input"]["key"]["k"])
        payload, signing = example["input"]["payload"].encode(), example["signing"]
        assert jws.signing_input(signing["protected_b64u"], payload).decode() == signing["sig-input"]
        assert (
            to_base64url(SigningPart.load(Algorithm.HS256, secret).sign(signing["sig-input"].encode()))
            == signing["sig"]
        )
        key = VerifyingPart.load(Algorithm.HS256, secret)
        detached = f"{signing['protected_b64u']}..{signing['sig']}"
        assert jws.verify(detached, payload, {example["input"]["key"]["kid"]: key}.get).algorithm == "HS256"
        if name.startswith("4_5"):
            assert example["output"]["compact"] == detached


def test_the_ed25519_example_is_reproduced_and_its_old_name_refused() -> None:
    example = jose_cookbook("curve25519")["jws"]
    signer = SigningPart.load(Algorithm.ED25519, from_base64url(example["input"]["key"]["d"]))
    public = VerifyingPart.load(Algorithm.ED25519, from_base64url(example["input"]["key"]["x"]))
    signing = example["signing"]
    assert to_base64url(signer.sign(signing["sig-input"].encode())) == signing["sig"]
    assert public.verify(signing["sig-input"].encode(), from_base64url(signing["sig"]))
    with pytest.raises(BadSignature):
        jws.verify(f"{signing['protected_b64u']}..{signing['sig']}", b"Example of Ed25519 signing", lambda _: public)


@pytest.mark.parametrize("folder", ["jws", "rfc7797", "curve25519"])
def test_every_other_example_is_refused_with_words(folder: str) -> None:
    ours = {"4_5.signature_with_detached_content", "4_4.hmac-sha2_integrity_protection"}
    for name, example in jose_cookbook(folder).items():
        compact = example.get("output", {}).get("compact")
        if name in ours or compact is None:
            continue
        head, payload, raw = compact.split(".", 1)[0], compact, compact.rsplit(".", 1)[1]
        for candidate in (compact, f"{head}..{raw}"):
            assert not accepted(candidate, payload.encode()), name


def test_base64url_is_canonical() -> None:
    for size in range(40):
        data = os.urandom(size)
        assert from_base64url(to_base64url(data)) == data
        assert base64.urlsafe_b64encode(data).rstrip(b"=").decode() == to_base64url(data)
    for text in ("AB", "A", "AA==", "A A", "ä", "+/", "AA\n"):
        with pytest.raises(ValueError, match="base64url"):
            from_base64url(text)
