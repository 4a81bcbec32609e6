"""Create the first operator of a new installation and print the login once; do nothing when there is one already."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import django

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nexus_site.settings")


def main() -> None:
    """Create the superuser `admin` with a random password."""
    django.setup()
    from django.contrib.auth.models import User

    address = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}/admin/"
    if User.objects.filter(is_superuser=True).exists():
        print(f"Admin: {address}")
        return
    password = secrets.token_urlsafe(12)
    User.objects.create_superuser("admin", password=password)
    print(f"Admin: {address}   user: admin   password: {password}   (shown this once)")


if __name__ == "__main__":
    main()
