"""The format of encrypted data, against the examples of RFC 7520 and by hand."""

from __future__ import annotations

import json
import os

import pytest

from messaging.core.errors import NotDecrypted
from messaging.security.encryption.cipher import decrypt, encrypt
from messaging.security.encryption.jwe import JweHeader, JweParts, read, write
from messaging.security.signatures.encoding import from_base64url, to_base64url
from tests.support.corpora import jose_cookbook

HEADER = JweHeader("k1", "web", "clerk", "payment.card")
SECRET = bytes(range(32))


def test_there_and_back() -> None:
    for clear in (b"", b"null", os.urandom(300_000)):
        text = write(encrypt(clear, SECRET, HEADER))
        header, parts = read(text)
        assert (header, decrypt(parts, SECRET)) == (HEADER, clear)
    assert write(encrypt(b"1", SECRET, HEADER)) != write(encrypt(b"1", SECRET, HEADER))


def test_the_example_of_rfc_7520() -> None:
    """Section 5.8: AES key wrap with AES-GCM. It has keys of 128 bits, which ``read`` refuses and the cipher takes."""
    examples = [one for name, one in jose_cookbook("jwe").items() if name.startswith("5_8")]
    if not examples:
        pytest.skip("the corpus jose-cookbook has no folder jwe")
    (example,) = examples
    compact = example["output"]["compact"]
    protected, *rest = compact.split(".")
    parts = JweParts(protected, *map(from_base64url, rest))
    clear = decrypt(parts, from_base64url(example["input"]["key"]["k"]))
    assert (clear.decode(), write(parts)) == (example["input"]["plaintext"], compact)
    with pytest.raises(NotDecrypted, match="other members"):
        read(compact)


def test_every_changed_bit_is_noticed() -> None:
    parts = encrypt(b'{"a":1}', SECRET, HEADER)
    for name in ("wrapped", "nonce", "ciphertext", "tag"):
        whole = getattr(parts, name)
        for place in range(len(whole)):
            changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
            with pytest.raises(NotDecrypted, match="do not open"):
                decrypt(parts._replace(**{name: changed}), SECRET)
    other = encrypt(b"", SECRET, HEADER._replace(recipient="thief")).protected
    with pytest.raises(NotDecrypted, match="do not open"):
        decrypt(parts._replace(protected=other), SECRET)
    with pytest.raises(NotDecrypted, match="do not open"):
        decrypt(parts, SECRET[::-1])


def members(**changes: object) -> str:
    first = {"alg": "A256KW", "enc": "A256GCM", "kid": "k1", "iss": "web", "aud": "clerk", "sub": "payment.card"}
    return to_base64url(json.dumps(first | changes).encode())


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (members(alg="dir"), "another alg or enc"),
        (members(alg="none"), "another alg or enc"),
        (members(enc="A128GCM"), "another alg or enc"),
        (members(zip="DEF"), "other members"),
        (members(jwk={"kty": "oct", "k": "AA"}), "other members"),
        (members(crit=["x"]), "other members"),
        (members(kid=7), "no string"),
        (to_base64url(b"[]"), "other members"),
        (to_base64url(b'{"alg":"A256KW","alg":"A256KW"}'), "compact form"),
        ("!", "compact form"),
        ("A" * 2_000, "five parts"),
    ],
)
def test_headers_that_are_not_ours(header: str, says: str) -> None:
    text = write(encrypt(b"1", SECRET, HEADER)).partition(".")[2]
    with pytest.raises(NotDecrypted, match=says):
        read(f"{header}.{text}")


def test_texts_that_are_none() -> None:
    good = write(encrypt(b"1", SECRET, HEADER))
    header, wrapped, nonce, ciphertext, tag = good.split(".")
    for wrong in ("", "....", good + ".", good[: good.rindex(".")], f"{header}.{wrapped}.{nonce}.{ciphertext}.{tag}="):
        with pytest.raises(NotDecrypted, match="compact form"):
            read(wrong)
    for short in ((wrapped[:32], nonce, tag), (wrapped, nonce[:8], tag), (wrapped, nonce, tag[:20])):
        with pytest.raises(NotDecrypted, match=r"another length|compact form"):
            read(f"{header}.{short[0]}.{short[1]}.{ciphertext}.{short[2]}")
