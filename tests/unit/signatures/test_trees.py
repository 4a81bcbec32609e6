"""Trees of messages under one signature: what was signed together is accepted, one by one, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.core.errors import BadSignature
from messaging.security.signatures import jws
from messaging.security.signatures.algorithms import VerifyingPart
from messaging.security.signatures.encoding import from_base64url, to_base64url
from messaging.security.signatures.routing import routing_digest
from messaging.security.signatures.trees import MAX_LEAVES, Leaf, climb, plant
from tests.unit.signatures.test_jws import SIGNERS, VERIFIERS, accepted


def messages(count: int) -> list[Leaf]:
    """Every third one is a group's."""
    routed = (routing_digest([("a", number), ("b", 1)]) if number % 3 == 2 else "" for number in range(count))
    return [(b'{"id":%d}' % number, to) for number, to in enumerate(routed)]


def signed(count: int, key: str = "one") -> list[tuple[bytes, str, str]]:
    """(bytes, digest of the routing, signature)"""
    leaves = messages(count)
    signatures = jws.sign_all(SIGNERS[key], key, leaves)
    return [(body, to, signature) for (body, to), signature in zip(leaves, signatures, strict=True)]


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    jws._verify_head.cache_clear()
    yield
    jws._verify_head.cache_clear()


# --- RFC 9162, word by word ---


def root_of(entries: Sequence[bytes]) -> bytes:
    """MTH of §2.1.1."""
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    half = half_of(len(entries))
    return sha256(b"\x01" + root_of(entries[:half]) + root_of(entries[half:])).digest()


def path_of(index: int, entries: Sequence[bytes]) -> list[bytes]:
    """PATH of §2.1.3.1."""
    if len(entries) == 1:
        return []
    half = half_of(len(entries))
    if index < half:
        return [*path_of(index, entries[:half]), root_of(entries[half:])]
    return [*path_of(index - half, entries[half:]), root_of(entries[:half])]


def half_of(size: int) -> int:
    """The largest power of two below."""
    return 1 << (size - 1).bit_length() - 1


def test_the_slow_tree_is_that_of_certificate_transparency() -> None:
    """The entries and roots that implementations of RFC 6962 and 9162 are tested with."""
    entries = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
    entries.append(bytes(range(0x60, 0x70)))
    assert root_of(entries[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert root_of(entries[:2]).hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert root_of(entries[:3]).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    assert root_of(entries).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@pytest.mark.parametrize("size", range(2, MAX_LEAVES + 1))
def test_every_tree_is_the_rfc_s(size: int) -> None:
    leaves = messages(size)
    bound = [b"\x20" + from_base64url(to) if to else b"\x00" for _, to in leaves]
    entries = [b"nexus leaf 1\n" + to + body for to, (body, _) in zip(bound, leaves, strict=True)]
    head, proofs = plant(leaves)
    assert head == b"nexus tree head 1\n%d\n%b" % (size, root_of(entries))
    for index, (body, to) in enumerate(leaves):
        assert from_base64url(proofs[index]) == bytes((index, size)) + bound[index] + b"".join(path_of(index, entries))
        assert climb(proofs[index], body) == (head, to)


# --- signatures ---


@pytest.mark.parametrize("count", [0, 1, 2, 3, MAX_LEAVES - 1, MAX_LEAVES, MAX_LEAVES + 1, 2 * MAX_LEAVES + 2])
def test_what_was_signed_together_is_accepted_one_by_one(count: int) -> None:
    burst = signed(count)
    for body, to, signature in burst:
        header = jws.verify(signature, body, VERIFIERS.get)
        assert (header.key, header.algorithm, header.to) == ("one", "Ed25519", to)
        assert len(signature) < jws.MAX_SIGNATURE
    alone = [signature for _, _, signature in burst if signature.count(".") == 2]
    assert alone == [jws.sign(SIGNERS["one"], "one", body, to) for body, to, _ in burst[len(burst) - len(alone) :]]
    assert len(alone) == (count % MAX_LEAVES == 1)


def test_a_mac_stays_one_a_message() -> None:
    for body, to, signature in signed(5, "shared"):
        assert signature == jws.sign(SIGNERS["shared"], "shared", body, to)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_is_changed_is_refused(data: st.DataObject) -> None:
    burst = signed(data.draw(st.sampled_from([2, 3, 7, MAX_LEAVES])))
    for body, _, signature in burst:
        jws.verify(signature, body, VERIFIERS.get)  # the head is remembered: that must help no forgery
    body, _, signature = data.draw(st.sampled_from(burst))
    head, proof = signature.rsplit(".", 1)
    raw = from_base64url(proof)
    match data.draw(
        st.sampled_from(["body", "text", "proof", "cut", "longer", "other proof", "other body", "other key"])
    ):
        case "body":
            place = data.draw(st.integers(0, len(body) - 1))
            body = body[:place] + bytes([body[place] ^ data.draw(st.integers(1, 255))]) + body[place + 1 :]
        case "text":
            place = data.draw(st.integers(0, len(signature) - 1))
            letter = data.draw(st.sampled_from("ABCxyz019-_.= \n").filter(lambda letter: letter != signature[place]))
            signature = signature[:place] + letter + signature[place + 1 :]
        case "proof":
            place = data.draw(st.integers(0, len(raw) - 1))
            changed = raw[:place] + bytes([raw[place] ^ data.draw(st.integers(1, 255))]) + raw[place + 1 :]
            signature = f"{head}.{to_base64url(changed)}"
        case "cut":
            signature = signature[: data.draw(st.integers(0, len(signature) - 1))]
        case "longer":
            signature = f"{head}.{to_base64url(raw + data.draw(st.binary(min_size=1, max_size=64)))}"
        case "other proof":
            other = data.draw(st.sampled_from([text for _, _, text in burst if text != signature]))
            signature = f"{head}.{other.rsplit('.', 1)[1]}"
        case "other body":
            body = data.draw(st.sampled_from([other for other, _, _ in burst if other != body]))
        case _:
            stolen = jws.sign_all(SIGNERS["two"], "two", [(one, to) for one, to, _ in burst])[0]
            signature = f"{head.split('.')[0]}..{stolen.split('.', 2)[2]}"
    assert not accepted(signature, body)


def refused(signature: str, body: bytes) -> str:
    with pytest.raises(BadSignature) as caught:
        jws.verify(signature, body, VERIFIERS.get)
    return str(caught.value)


def test_a_refusal_says_why() -> None:
    body, _, signature = signed(5)[2]  # a group's
    head, proof = signature.rsplit(".", 1)
    raw = from_base64url(proof)
    index, size, bound, rest = raw[:1], raw[1:2], raw[2:3], raw[3:]

    def with_proof(*parts: bytes) -> str:
        return refused(f"{head}.{to_base64url(b''.join(parts))}", body)

    assert "not those that were signed" in with_proof(b"\1", size, bound, rest)  # another place
    assert "message 5 in a tree with 5" in with_proof(b"\5", size, bound, rest)
    assert "67 are expected for message 4 of 5" in with_proof(b"\4", size, bound, rest)
    assert "with 1 messages; from 2" in with_proof(b"\0", b"\1", b"\0")
    assert f"with {MAX_LEAVES + 1} messages; from 2" in with_proof(index, bytes([MAX_LEAVES + 1]), bound, rest)
    assert "131 are expected" in with_proof(raw[:-32])
    assert "131 are expected" in with_proof(raw, bytes(32))
    assert "routing of 31 bytes" in with_proof(index, size, b"\x1f", rest)
    assert "99 are expected" in with_proof(index, size, b"\0", rest)  # its group taken for the path's beginning
    assert "2 bytes" in with_proof(index, size)
    assert "cannot be read" in refused(f"{signature}=", body)
    assert "proof that the message is in it is missing" in refused(head, body)
    plain = jws.sign(SIGNERS["one"], "one", body)
    assert "has a proof as if" in refused(f"{plain}.{proof}", body)
    for raised in (f"{signature}.", f"{signature}.{proof}", f"{head}.", signature.replace("..", ".AA.")):
        assert "no JWS with detached payload" in refused(raised, body)


def test_the_two_forms_are_not_mixed_up() -> None:
    """The signature of a head is none of a message, and no header says that it is both."""
    leaves = messages(2)
    head, proofs = plant(leaves)
    plain = jws.sign(SIGNERS["one"], "one", head)  # somebody has a head signed as if it was a message
    assert not accepted(f"{plain}.{proofs[0]}", leaves[0][0])
    header, _, rest = plain.partition("..")
    tree = jws.sign_all(SIGNERS["one"], "one", leaves)[0].partition("..")[0]
    assert not accepted(f"{tree}..{rest}.{proofs[0]}", leaves[0][0])
    signature = jws.sign_all(SIGNERS["one"], "one", leaves)[0]
    assert not accepted(signature.rpartition(".")[0], head)
    assert not accepted(signature.rpartition(".")[0].replace(tree, header), head)
    for wrong in (
        {"alg": "Ed25519", "kid": "one", "cty": "JWT"},
        {"alg": "Ed25519", "kid": "one", "cty": None},
        {"alg": "Ed25519", "kid": "one", "to": "x", "cty": "nexus-tree-head"},
        {"alg": "HS256", "kid": "shared", "cty": "nexus-tree-head"},
    ):
        encoded = to_base64url(repr(wrong).replace("'", '"').replace("None", "null").encode())
        signed_head = SIGNERS[str(wrong["kid"])].sign(jws.signing_input(encoded, head))
        assert "has cty" in refused(f"{encoded}..{to_base64url(signed_head)}.{proofs[0]}", leaves[0][0])


def test_a_leaf_is_no_node_and_binds_where_its_parts_end() -> None:
    to = routing_digest([("a", 1)])
    heads = [
        plant([(body, bound), (b"x", "")])[0]
        for body, bound in ((b"x", to), (b"x", ""), (from_base64url(to) + b"x", ""))
    ]
    assert len(set(heads)) == 3
    with pytest.raises(ValueError, match="32 bytes, not 2"):
        plant([(b"x", "AAA"), (b"y", "")])
    for count in (1, MAX_LEAVES + 1):
        with pytest.raises(ValueError, match="A tree has from 2"):
            plant(messages(count))


# --- what is remembered ---


def test_a_head_is_verified_once_for_each_key(monkeypatch: pytest.MonkeyPatch) -> None:
    burst, verified = signed(MAX_LEAVES), []
    really = VerifyingPart.verify

    def count(self: VerifyingPart, data: bytes, signature: bytes) -> bool:
        verified.append(data)
        return really(self, data, signature)

    monkeypatch.setattr(VerifyingPart, "verify", count)
    for body, _, signature in burst * 2:
        jws.verify(signature, body, VERIFIERS.get)
    assert len(verified) == 1
    body, _, signature = burst[0]
    with pytest.raises(BadSignature, match="not those that were signed"):
        jws.verify(signature, body, {"one": VERIFIERS["two"]}.get)  # another key under the same name
    with pytest.raises(BadSignature, match="No key is named"):
        jws.verify(signature, body, lambda _: None)  # the key is gone
    assert len(verified) == 2


def test_forgeries_are_not_remembered_and_take_no_room() -> None:
    (body, _, signature), *_ = signed(3)
    jws.verify(signature, body, VERIFIERS.get)
    for number in range(200):
        assert not accepted(signature, b"forged %d" % number)
        assert not accepted(signature, b"forged %d" % number), "nor the second time"
    assert jws._verify_head.cache_info().currsize == 1
    assert jws._verify_head.cache_info().maxsize == jws.HEADS


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VerifyingPart, "verify", lambda *_: True)
    _, _, signature = signed(3)[0]
    for number in range(jws.HEADS + 50):
        jws.verify(signature, b"%d" % number, VERIFIERS.get)
    assert jws._verify_head.cache_info().currsize == jws.HEADS
