"""``manage.py nexus_keys``: the keys that messages are signed with."""

from __future__ import annotations

import getpass
import json
import os
import threading
from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError
from django.db import transaction

from messaging.core.errors import SigningKeyError
from messaging.management.encryption_keys import encryption_keys, line_of, retire, revoke
from messaging.management.key_uses import add_uses_action, uses_as_text
from messaging.models import ForeignSender, KeyState, SigningKey, SigningMode
from messaging.security.encryption import changing as encryption
from messaging.security.signatures import changing, foreign, keys
from messaging.security.signatures.agreement import disagreements
from messaging.security.signatures.algorithms import Algorithm, new_secret, public_part
from messaging.security.signatures.jwks import jwk_set
from messaging.security.signatures.master import get_vault
from messaging.security.signatures.sealing import MASTER_BYTES, LocalVault

EXAMPLES = """\
examples:
  manage.py nexus_keys list                            keys, and how many messages in flight need each
  manage.py nexus_keys uses --hours 48                 how often each key signed, by hour and host
  manage.py nexus_keys rotate                          a new key signs; the one before verifies on
  manage.py nexus_keys rotate --encryption             … a new key encrypts; retire and revoke take its name too
  manage.py nexus_keys create --signer web --agents 'web,web-*'
  manage.py nexus_keys activate KID
  manage.py nexus_keys revoke KID                      a leaked key: what is in flight goes on, nothing new is accepted
  manage.py nexus_keys revoke KID --park               … what is in flight waits for an operator
  manage.py nexus_keys export --output jwks.json       the public keys
  manage.py nexus_keys master                          print a new master key for NEXUS_MASTER_KEY
  manage.py nexus_keys reseal                          bring all keys under the current (first) master key
  manage.py nexus_keys preflight                       which workers disagree, before you enforce
  manage.py nexus_keys mode report --reason 'an old worker is back'
                                                       record another mode; NEXUS_SIGNING must not be stricter

a host without the master key (there: NEXUS_SIGNER, NEXUS_SIGNING_KEY_FILE and NEXUS_TRUSTED_ROOT):
  manage.py nexus_keys generate --output web.key       on that host; prints the public half
  manage.py nexus_keys register --signer web --agents 'web,web-*' --public HEX --activate
  manage.py nexus_keys root                            the value of NEXUS_TRUSTED_ROOT
  manage.py nexus_keys register-foreign shop --public-key shop.pem --agent shop
                                                       let a program outside send through the inbox
  manage.py nexus_keys list-foreign                    such programs
  manage.py nexus_keys revoke-foreign shop             store nothing more of one
"""


class Command(BaseCommand):
    help = "Look at the keys that messages are signed with, and change them. Every change is audited."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.epilog, parser.formatter_class = EXAMPLES, RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listing = actions.add_parser("list", help="every key")
        listing.add_argument("--json", action="store_true", help="for programs")
        add_uses_action(actions)
        creating = actions.add_parser("create", help="a key that does not sign yet")
        creating.add_argument("--signer", default="nexus", help="the process identity, NEXUS_SIGNER (default nexus)")
        creating.add_argument("--agents", default="*", help="patterns of agents it may sign for, by commas (default *)")
        creating.add_argument("--algorithm", choices=[one.value for one in Algorithm], default="")
        creating.add_argument("--activate", action="store_true", help="sign with it at once")
        registering = actions.add_parser("register", help="take the public half of a key that is on its own host")
        registering.add_argument("--signer", required=True, help="the process identity, NEXUS_SIGNER")
        registering.add_argument("--agents", required=True, help="patterns of agents it may sign for, by commas")
        registering.add_argument("--public", required=True, metavar="HEX")
        registering.add_argument("--activate", action="store_true", help="accept what it signs at once")
        generating = actions.add_parser("generate", help="a private key for this host alone; prints the public half")
        generating.add_argument("--output", type=Path, required=True, metavar="FILE", help="made for its owner alone")
        actions.add_parser("root", help="print NEXUS_TRUSTED_ROOT for hosts without the master key")
        preflight = actions.add_parser("preflight", help="which workers disagree about signatures")
        preflight.add_argument("--mode", choices=SigningMode.values, default=SigningMode.ENFORCE)
        rotating = actions.add_parser("rotate", help="a new key like the active one")
        rotating.add_argument("--signer", default="nexus")
        rotating.add_argument("--encryption", action="store_true", help="the one that encrypts data")
        for name, text in (("activate", "sign with it"), ("retire", "sign no more with it, without another")):
            actions.add_parser(name, help=text).add_argument("kid")
        revoking = actions.add_parser("revoke", help="accept nothing more of it")
        revoking.add_argument("kid")
        revoking.add_argument("--park", action="store_true", help="park the workflows of what is in flight")
        revoking.add_argument("--now", action="store_true", help="do not wait until processes have noticed the new key")
        exporting = actions.add_parser("export", help="the public keys as a JWK Set")
        exporting.add_argument("--output", type=Path, metavar="FILE", help="standard output by default")
        actions.add_parser("master", help="print a new master key")
        actions.add_parser("reseal", help="bring all keys under the current master key")
        _add_foreign_actions(actions)
        mode = actions.add_parser("mode", help="record another mode")
        mode.add_argument("mode", choices=SigningMode.values)
        mode.add_argument("--reason", default="", help="for the audit; needed for a laxer mode")
        mode.add_argument("--force", action="store_true", help="enforce although workers are at work that do not sign")

    def handle(self, *args: Any, **options: Any) -> None:
        who = f"{getpass.getuser()} (command line)"
        try:
            getattr(self, f"_{options['action'].replace('-', '_')}")(who, options)
        except SigningKeyError as error:
            raise CommandError(str(error)) from error
        except (DatabaseError, OSError) as error:
            raise CommandError(f"Not done: {error}") from error

    def _list(self, who: str, options: dict[str, Any]) -> None:
        rows = []
        for key in SigningKey.objects.order_by("signer", "created_at"):
            rows.append(
                {
                    "kid": key.kid,
                    "signer": key.signer,
                    "agents": key.agents,
                    "algorithm": key.algorithm,
                    "state": key.state,
                    "created": key.created_at.isoformat(timespec="seconds"),
                    "in_flight": len(changing.messages_in_flight(changing.signed_with(key))),
                    "problem": keys.know(key).problem,
                }
            )
        if options["json"]:
            self.stdout.write(json.dumps([*rows, *encryption_keys()], indent=2))
            return
        for row in rows:
            problem = f"  PROBLEM: {row['problem']}" if row["problem"] else ""
            self.stdout.write(
                f"{row['kid']}  {row['state']:<8} {row['algorithm']:<8} {row['signer']} for {row['agents']}  "
                f"since {row['created']}  in flight: {row['in_flight']}{problem}"
            )
        if not rows:
            self.stdout.write("There is no key yet. The first message makes one.")
        for found in encryption_keys():
            self.stdout.write(line_of(found))

    def _uses(self, who: str, options: dict[str, Any]) -> None:
        self.stdout.write(uses_as_text(options))

    def _create(self, who: str, options: dict[str, Any]) -> None:
        key = changing.create(
            signer=options["signer"], agents=options["agents"], algorithm=options["algorithm"], who=who
        )
        if options["activate"]:
            key = changing.activate(key.kid, who=who)
        self.stdout.write(str(key))

    def _register(self, who: str, options: dict[str, Any]) -> None:
        try:
            public = bytes.fromhex(options["public"])
        except ValueError:
            raise SigningKeyError(
                "--public: expected hexadecimal digits, as nexus_keys generate printed them"
            ) from None
        key = changing.register(signer=options["signer"], agents=options["agents"], public=public, who=who)
        if options["activate"]:
            key = changing.activate(key.kid, who=who)
        self.stdout.write(str(key))

    def _generate(self, who: str, options: dict[str, Any]) -> None:
        secret = new_secret()
        with os.fdopen(os.open(options["output"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secret.hex() + "\n")
        self.stdout.write(public_part(Algorithm.ED25519, secret).hex())

    def _root(self, who: str, options: dict[str, Any]) -> None:
        vault = get_vault()
        if not isinstance(vault, LocalVault):
            raise SigningKeyError("The master key is not here: ask where NEXUS_MASTER_KEY is set.")
        self.stdout.write(",".join(root.hex() for root in vault.roots))

    def _preflight(self, who: str, options: dict[str, Any]) -> None:
        found = disagreements(SigningMode(options["mode"]))
        for one in found:
            self.stdout.write(f"{'BLOCKS' if one.blocks else 'differs'}  {one}")
        if any(one.blocks for one in found):
            raise SigningKeyError(f"Not yet: mend what blocks before you set NEXUS_SIGNING={options['mode']}.")
        self.stdout.write(
            f"No worker at work keeps you from {options['mode']}. Web processes and relays are not seen here."
        )

    def _rotate(self, who: str, options: dict[str, Any]) -> None:
        if options["encryption"]:
            self.stdout.write(str(encryption.rotate(who=who)))
            return
        self.stdout.write(str(changing.rotate(options["signer"], who=who)))

    def _activate(self, who: str, options: dict[str, Any]) -> None:
        self.stdout.write(str(changing.activate(options["kid"], who=who)))

    def _retire(self, who: str, options: dict[str, Any]) -> None:
        told = retire(options["kid"], who)
        self.stdout.write(told or str(changing.retire(options["kid"], who=who)))

    def _revoke(self, who: str, options: dict[str, Any]) -> None:
        if told := revoke(options["kid"], who, wait=0.0 if options["now"] else 2 * keys.REMEMBER):
            self.stdout.write(told)
            return
        key = changing.find_key(options["kid"])
        if key.state == KeyState.ACTIVE:
            self.stdout.write(f"From now on: {changing.rotate(key.signer, who=who)}")
            if not options["now"]:
                threading.Event().wait(2 * keys.REMEMBER)
        count, parked = changing.revoke(key.kid, park=options["park"], who=who)
        self.stdout.write(f"{key.kid} is revoked. In flight: {count} messages, which stay valid.")
        if parked:
            self.stdout.write(f"Parked: {len(parked)} workflows. Look at them in the admin; resume or cancel each.")

    def _export(self, who: str, options: dict[str, Any]) -> None:
        text = json.dumps(jwk_set(), indent=2) + "\n"
        if options["output"]:
            options["output"].write_text(text, encoding="ascii")
        else:
            self.stdout.write(text, ending="")

    def _master(self, who: str, options: dict[str, Any]) -> None:
        self.stdout.write(os.urandom(MASTER_BYTES).hex())

    def _reseal(self, who: str, options: dict[str, Any]) -> None:
        with transaction.atomic():
            count = changing.reseal(who=who) + encryption.reseal(who=who)
        self.stdout.write(f"Resealed: {count} keys.")

    def _mode(self, who: str, options: dict[str, Any]) -> None:
        mode = SigningMode(options["mode"])
        if keys.wanted_mode().strictness > mode.strictness:
            raise SigningKeyError(
                f"NEXUS_SIGNING is {keys.wanted_mode().value} here, and a worker would record it again at once. Set it "
                f"to {mode.value} in every process first."
            )
        if mode.strictness < keys.verifying().recorded.strictness:
            if not options["reason"].strip():
                raise SigningKeyError("Say why with --reason: the audit keeps it.")
            changing.lower_mode(mode, who=who, reason=options["reason"])
        else:
            blocking = [one for one in disagreements(mode) if one.blocks] if mode is SigningMode.ENFORCE else []
            if blocking and not options["force"]:
                raise SigningKeyError(f"Not recorded: {blocking[0]}. See manage.py nexus_keys preflight, or --force.")
            changing.raise_mode(mode, who=who)
        self.stdout.write(f"Recorded: {mode.value}.")

    def _register_foreign(self, who: str, options: dict[str, Any]) -> None:
        row = foreign.register(
            options["name"],
            _text_of(options["public_key"]),
            ",".join(options["agents"]),
            starts_workflows=not options["existing_workflows_only"],
            rate=options["rate"],
            who=who,
        )
        self.stdout.write(f"Registered: {row}. Its signatures carry the kid {row.name!r}; see docs/foreign-senders.md.")

    def _list_foreign(self, who: str, options: dict[str, Any]) -> None:
        rows = ForeignSender.objects.order_by("name")
        for row in rows:
            problem = foreign.know(row).problem
            workflows = "starts workflows" if row.starts_workflows else "existing workflows only"
            since = row.created_at.isoformat(timespec="seconds")
            self.stdout.write(
                f"{row}, {row.rate:g} events a second, {workflows}, since {since}"
                + (f"  PROBLEM: {problem}" if problem else "")
            )
        if not rows:
            self.stdout.write("No program outside is registered.")

    def _revoke_foreign(self, who: str, options: dict[str, Any]) -> None:
        foreign.revoke(options["name"], who=who)
        self.stdout.write(
            f"{options['name']} is revoked. What is stored already goes on; nothing more of it is stored."
        )


def _add_foreign_actions(actions: Any) -> None:
    registering = actions.add_parser("register-foreign", help="let a program outside send through the inbox")
    registering.add_argument("name", help="what it puts as kid into its signatures")
    registering.add_argument("--public-key", type=Path, metavar="FILE", required=True, help="Ed25519, PEM or JWK")
    registering.add_argument(
        "--agent", action="append", dest="agents", metavar="X", required=True, help="it may speak for; repeat it"
    )
    registering.add_argument("--rate", type=float, default=foreign.DEFAULT_RATE, help="events a second (default 100)")
    registering.add_argument(
        "--existing-workflows-only", action="store_true", help="refuse names of workflows that were not started for it"
    )
    actions.add_parser("list-foreign", help="programs outside")
    actions.add_parser("revoke-foreign", help="store nothing more of one").add_argument("name")


def _text_of(file: Path) -> str:
    """The text of a file.

    Raises:
        SigningKeyError: it is no text.
        OSError: it cannot be read.
    """
    try:
        return file.read_text(encoding="ascii")
    except UnicodeDecodeError:
        raise SigningKeyError(f"{file} is no text. Give the public key as PEM or as a JWK.") from None
