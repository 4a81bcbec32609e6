"""Where the master key comes from, so that there is nothing to set up.

0. ``NEXUS_KEY_VAULT``: a callable that makes a ``KeyVault`` which asks a service outside; ``NEXUS_TRUSTED_ROOT``: none
   is here, only its public half.
1. ``NEXUS_MASTER_KEY``: 64 hexadecimal digits; several by commas, of which the first is the current one.
2. ``NEXUS_MASTER_KEY_FILE``: the same in a file.
3. With a server as broker: derived from ``SECRET_KEY`` (and ``SECRET_KEY_FALLBACKS``), which all processes share.
4. Otherwise a file in the data folder, made when it is missing, for its owner alone.
"""

from __future__ import annotations

import functools
import hmac
import os
from hashlib import sha256
from pathlib import Path

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from messaging.conf import get_settings
from messaging.core.errors import SigningKeyError
from messaging.security.signatures.sealing import MASTER_BYTES, KeyVault, LocalVault, RootVault
from messaging.transport.current import get_kind

FILE_NAME = "master.key"


@functools.cache
def get_vault() -> KeyVault:
    """The vault of this process.

    Raises:
        SigningKeyError: there is no usable master key.
    """
    settings = get_settings()
    if settings.key_vault:
        try:
            vault: KeyVault = import_string(settings.key_vault)()
        except ImportError as error:
            raise SigningKeyError(f"NEXUS_KEY_VAULT names {settings.key_vault}: {error}.") from error
        return vault
    if settings.trusted_root:
        return RootVault(parse_keys(settings.trusted_root, "NEXUS_TRUSTED_ROOT", "nexus_keys root"))
    return LocalVault(_keys())


def _forget(*, setting: str, **_: object) -> None:
    if setting in ("NEXUS", "SECRET_KEY", "SECRET_KEY_FALLBACKS"):
        get_vault.cache_clear()


setting_changed.connect(_forget)


def _keys() -> list[bytes]:
    settings = get_settings()
    if settings.master_key:
        return parse_keys(settings.master_key, "NEXUS_MASTER_KEY")
    if settings.master_key_file:
        return read_keys(Path(settings.master_key_file))
    kind = get_kind()
    known = getattr(django_settings, "DEFAULT_SECRET_KEY", None)
    if kind is not None and kind.needs_server and known != django_settings.SECRET_KEY:
        texts = [django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS]
        return [hmac.digest(b"nexus master key of SECRET_KEY", str(text).encode(), sha256) for text in texts]
    return _read_or_make(Path(settings.data_dir) / FILE_NAME)


def parse_keys(text: str, where: str, command: str = "nexus_keys master") -> list[bytes]:
    """Read keys of 64 hexadecimal digits, separated by commas or lines.

    Raises:
        SigningKeyError: there is none, or one is malformed; names where, and the ``command`` that makes one.
    """
    try:
        keys = [bytes.fromhex(part) for part in text.replace("\n", ",").split(",") if part.strip()]
    except ValueError:
        keys = []
    if not keys or any(len(key) != MASTER_BYTES for key in keys):
        raise SigningKeyError(
            f"{where}: expected {2 * MASTER_BYTES} hexadecimal digits a key. Make one with: manage.py {command}"
        )
    return keys


def read_keys(path: Path, what: str = "The master key", command: str = "nexus_keys master") -> list[bytes]:
    """Read keys of a file.

    Raises:
        SigningKeyError: see ``parse_keys``, or the file cannot be read.
    """
    try:
        return parse_keys(path.read_text(encoding="ascii"), str(path), command)
    except (OSError, UnicodeDecodeError) as error:
        raise SigningKeyError(f"{what} cannot be read from {path}: {error}.") from error


def _read_or_make(path: Path) -> list[bytes]:
    """Another process may make the file at the same time: one of them wins, and both read the same key."""
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(os.urandom(MASTER_BYTES).hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)
            except FileExistsError:
                pass  # the other's, complete
            finally:
                draft.unlink()
        except OSError as error:
            raise SigningKeyError(
                f"The master key cannot be stored in {path}: {error}. Make the folder writable or set NEXUS_MASTER_KEY."
            ) from error
    return read_keys(path)
