"""Secrets that are none, put together here so that no scanner of repositories takes them for some."""

from __future__ import annotations

import base64

LETTERS = "aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5"

SECRETS: dict[str, str] = {
    "github-token": "ghp_" + LETTERS,
    "aws-access-key": "AKIA" + "IOSFODNN7QWERTYU",
    "stripe-key": "sk_" + "live_" + LETTERS[:24],
    "gitlab-token": "glpat-" + LETTERS[:20],
    "gcp-api-key": "AIza" + LETTERS[:35],
    "slack-token": "xoxb-" + "2345678901-" + LETTERS[:24],
    "npm-token": "npm_" + LETTERS,
    "anthropic-key": "sk-ant-" + "api03-" + LETTERS + LETTERS + LETTERS[:21] + "AA",
    "openai-key": "sk-proj-" + LETTERS + "T3Blbk" + "FJ" + LETTERS,
    "sendgrid-key": "SG." + LETTERS[:22] + "." + LETTERS + "dE5gH7j",
    "digitalocean-token": "dop_" + "v1_" + "0a1b2c3d" * 8,
    "jwt": ".".join(
        base64.urlsafe_b64encode(part).decode().rstrip("=")
        for part in (b'{"alg":"HS256","typ":"JWT"}', b'{"sub":"1234567890","name":"A"}', b"0123456789abcdefghijklmno")
    ),
    "private-key": "-----BEGIN RSA "
    + "PRIVATE KEY-----\n"
    + "MIIEpAIBAAKCAQEA7bq0\n" * 8
    + "-----END RSA PRIVATE KEY-----",
    "bearer": "Authorization: Bearer " + LETTERS,
    "assigned": "db_password = '" + "fG7$kLm92Qz!xWvR4" + "'",
    "url-password": "postgres://app:" + "fG7kLm92QzxWvR4" + "@db.internal:5432/app",
}

SCRIPTS: dict[str, str] = {
    "Arabic": "العربية لغة جميلة، أليس كذلك؟ \u200fمرحبا",
    "Persian": "می\u200cخواهم کتاب\u200cها را بخوانم",
    "Hebrew": "\u2067שלום עולם\u2069 בְּרֵאשִׁית",
    "Hindi": "क्\u200dषत्रिय और र्\u200cक हिन्दी में",
    "Bengali": "বাংলা ভাষা র\u200d্যাব",
    "Tamil": "தமிழ் மொழி",
    "Sinhala": "ශ්\u200dරී ලංකාව",
    "Malayalam": "മലയാളം ന്\u200d ൻ",
    "Thai": "ภาษาไทยไม่มีช่องว่าง",
    "Khmer": "ភាសា\u200bខ្មែរ",
    "Burmese": "မြန်မာဘာသာ က\ufe00",
    "Tibetan": "བོད་སྐད་",
    "Georgian": "ქართული ენა",
    "Armenian": "Հայոց լեզու",
    "Greek": "Ελληνική γλώσσα, ᾧ",
    "Cyrillic": "Русский, українська, ѳита",
    "Chinese": "中文字符，葛\U000e0100飾區",
    "Japanese": "日本語のテキスト、ガギグ、辻\U000e0101さん",
    "Korean": "한국어 텍스트, 옛한글",
    "Ethiopic": "አማርኛ ቋንቋ",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ ᠠ\u180b",
    "Cherokee": "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ",
    "Vietnamese": "Tiếng Việt có nhiều dấu, e\u0302\u0301",
    "Emoji": "👨‍👩‍👧‍👦 👩🏽‍🚀 ❤️‍🔥 1️⃣ 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f ☎︎ ©️ 🏳️‍🌈",
}
