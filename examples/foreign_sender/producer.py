"""A program outside that sends to Nexus over AMQP: no Django, no access to the database, only its own private key.

    pip install amqp PyNaCl
    python producer.py keygen shop                      # shop.private.jwk stays here; the operator gets shop.public.jwk
    python producer.py send --url amqp://shop:secret@host/ --key shop.private.jwk --kid shop \\
        --source shop --to clerk --workflow order-7 --type order.placed '{"items": 3}'

The operator registers it: manage.py nexus_keys register-foreign shop --public-key shop.public.jwk --agent shop
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import amqp
from nacl.signing import SigningKey

CONTENT_TYPE = "application/cloudevents+json"


def base64url(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def build_event(*, source: str, to: str, workflow: str, type: str, data: Any, id: str = "") -> dict[str, Any]:
    """A CloudEvents event. Whoever sends one again because its confirm was lost must give it the same id and bytes."""
    return {
        "specversion": "1.0",
        "id": id or str(uuid.uuid4()),
        "source": source,
        "type": type,
        "subject": to,
        "time": datetime.now(UTC).isoformat(),
        "partitionkey": workflow,
        "data": data,
    }


def sign(body: bytes, key: SigningKey, kid: str) -> str:
    """A JWS over these exact bytes, its payload detached (RFC 7515, appendix F)."""
    header = base64url(json.dumps({"alg": "Ed25519", "kid": kid}, separators=(",", ":")).encode())
    signature = key.sign(f"{header}.{base64url(body)}".encode()).signature
    return f"{header}..{base64url(signature)}"


def publish(url: str, exchange: str, body: bytes, signature: str) -> None:
    """Publish, and return once the broker has it safely.

    Raises:
        RuntimeError: it has not: the inbox is full, or there is none.
        amqp.AMQPError, OSError: it cannot be reached, or refuses this user.
    """
    parts = urlsplit(url)
    connection = amqp.Connection(
        host=f"{parts.hostname}:{parts.port or 5672}",
        userid=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        virtual_host=unquote(parts.path[1:]) or "/",
        ssl=parts.scheme == "amqps",
        confirm_publish=True,
        connect_timeout=10,
        read_timeout=10,
        write_timeout=10,
    )
    with connection:
        channel = connection.channel()
        returned: list[str] = []
        channel.events["basic_return"].add(lambda error, *_: returned.append(str(error)))
        message = amqp.Message(
            body, content_type=CONTENT_TYPE, delivery_mode=2, application_headers={"signature": signature}
        )
        try:
            channel.basic_publish_confirm(message, exchange=exchange, mandatory=True)
        except amqp.exceptions.MessageNacked:
            raise RuntimeError("The inbox is full; send the same event again later.") from None
        if returned:
            raise RuntimeError(f"Nothing reads the exchange {exchange!r}: {returned[0]}")


def keygen(name: str) -> None:
    """Make a key pair, as two JWKs."""
    key = SigningKey.generate()
    public = {"kty": "OKP", "crv": "Ed25519", "x": base64url(bytes(key.verify_key))}
    with os.fdopen(os.open(f"{name}.private.jwk", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({**public, "d": base64url(bytes(key))}, file)
    Path(f"{name}.public.jwk").write_text(json.dumps(public), encoding="ascii")


def load_key(path: str) -> SigningKey:
    """The private key of a JWK."""
    seed = json.loads(Path(path).read_text(encoding="ascii"))["d"]
    return SigningKey(base64.urlsafe_b64decode(seed + "=" * (-len(seed) % 4)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Send an event to Nexus from outside.")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("keygen").add_argument("name")
    sending = actions.add_parser("send")
    for option in ("--url", "--key", "--kid", "--source", "--to", "--workflow", "--type"):
        sending.add_argument(option, required=True)
    sending.add_argument("--id", default="", help="of the event; a new one by default")
    sending.add_argument("--exchange", default="nexus.inbox")
    sending.add_argument("data", type=json.loads, help="JSON")
    options = parser.parse_args()
    if options.action == "keygen":
        keygen(options.name)
        return
    event = build_event(
        source=options.source,
        to=options.to,
        workflow=options.workflow,
        type=options.type,
        data=options.data,
        id=options.id,
    )
    body = json.dumps(event).encode()
    publish(options.url, options.exchange, body, sign(body, load_key(options.key), options.kid))
    sys.stdout.write(f"sent {event['id']}\n")


if __name__ == "__main__":
    main()
