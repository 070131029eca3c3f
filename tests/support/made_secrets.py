"""Generated secrets in the vendors' public formats, the same ones each time.

They are assembled here, so that no secret scanner takes them for real.
"""

from __future__ import annotations

import json
import string
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from random import Random
from typing import NamedTuple
from urllib.parse import quote

from tests.support.made_numbers import card, iban

_HEX = "0123456789abcdef"
_CAPITALS = string.ascii_uppercase + string.digits
_ALNUM = string.ascii_letters + string.digits
_URL_SAFE = _ALNUM + "-_"
_BASE64 = _ALNUM + "+/"


class Made(NamedTuple):
    """A text with a secret, as an agent may meet it."""

    what: str
    text: str
    secret: str


class _Maker:
    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def some(self, alphabet: str, length: int) -> str:
        return "".join(self._random.choices(alphabet, k=length))

    def password(self) -> str:
        """Return letters, digits and a sign, as password rules require."""
        return f"{self.some(string.ascii_letters, 6)}{self.some(string.digits, 3)}!"

    def uuid(self) -> str:
        return "-".join(self.some(_HEX, n) for n in (8, 4, 4, 4, 12))

    def jwt(self) -> str:
        def part(value: dict[str, str]) -> str:
            return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

        claims = part({"sub": self.some(string.digits, 8), "name": "somebody"})
        return ".".join((part({"alg": "HS256", "typ": "JWT"}), claims, self.some(_URL_SAFE, 43)))

    def lines(self, count: int) -> str:
        return "\n".join(self.some(_BASE64, 64) for _ in range(count))


def _by_their_shape(make: _Maker) -> Iterator[tuple[str, str]]:
    """Yield keys in prose, recognisable only by their shape."""
    some = make.some
    yield "OpenAI", "sk-" + some(_ALNUM, 20) + "T3BlbkFJ" + some(_ALNUM, 20)
    yield "OpenAI project", "sk-" + "proj-" + some(_URL_SAFE, 74) + "T3BlbkFJ" + some(_URL_SAFE, 74)
    yield "Anthropic", "sk-" + "ant-api03-" + some(_URL_SAFE, 93) + "AA"
    yield "OpenRouter", "sk-" + "or-v1-" + some(_HEX, 64)
    yield "DeepSeek", "sk-" + some(_HEX, 32)
    yield "Hugging Face", "hf" + "_" + some(string.ascii_letters, 34)
    yield "Groq", "gsk" + "_" + some(_ALNUM, 52)
    yield "Replicate", "r8" + "_" + some(_ALNUM, 37)
    yield "Perplexity", "pplx" + "-" + some(_ALNUM, 48)
    yield "xAI", "xai" + "-" + some(_ALNUM, 80)
    yield "LangSmith", "lsv2" + "_pt_" + some(_HEX, 32) + "_" + some(_HEX, 10)
    yield "AWS", "AKIA" + some("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)
    yield "Google", "AIza" + "Sy" + some(_URL_SAFE, 33)
    yield "Google OAuth", "ya29" + "." + some(_URL_SAFE, 120)
    yield "Google client secret", "GOCSPX" + "-" + some(_URL_SAFE, 28)
    yield "Azure AD", some(_ALNUM, 3) + "8" + "Q~" + some(_ALNUM + "_.~-", 34)
    yield "DigitalOcean", "dop" + "_v1_" + some(_HEX, 64)
    yield "Vault", "hvs" + "." + some(_URL_SAFE, 90)
    yield "GitHub", "ghp" + "_" + some(_ALNUM, 36)
    yield "GitHub fine-grained", "github" + "_pat_" + some(_ALNUM, 22) + "_" + some(_ALNUM, 59)
    yield "GitLab", "glpat" + "-" + some(_URL_SAFE, 20)
    yield "GitLab runner", "glrt" + "-" + some(_URL_SAFE, 20)
    yield "npm", "npm" + "_" + some(_ALNUM, 36)
    yield "PyPI", "pypi" + "-AgEIcHlwaS5vcmc" + some(_URL_SAFE, 150)
    yield "Docker Hub", "dckr" + "_pat_" + some(_URL_SAFE, 27)
    yield "Linear", "lin" + "_api_" + some(_ALNUM, 40)
    yield "Notion", "ntn" + "_" + some(string.digits, 11) + some(_ALNUM, 35)
    yield "Stripe", "sk" + "_live_" + some(_ALNUM, 24)
    yield "Stripe restricted", "rk" + "_live_" + some(_ALNUM, 24)
    yield "Stripe webhook", "whsec" + "_" + some(_ALNUM, 32)
    yield "SendGrid", "SG" + "." + some(_URL_SAFE, 22) + "." + some(_URL_SAFE, 43)
    yield "Slack", "xox" + "b-" + some(string.digits, 12) + "-" + some(_ALNUM, 24)
    app = f"1-A{some(_CAPITALS, 10)}-{some(string.digits, 13)}-{some(_HEX, 64)}"
    yield "Slack app", "xapp" + "-" + app
    webhook = f"T{some(_CAPITALS, 8)}/B{some(_CAPITALS, 8)}/{some(_ALNUM, 24)}"
    yield "Slack webhook", "hooks.slack" + ".com/services/" + webhook
    yield "Discord", "M" + some(_ALNUM, 25) + "." + some(_ALNUM, 6) + "." + some(_URL_SAFE, 38)
    yield "Telegram", some("123456789", 10) + ":AA" + some(_URL_SAFE, 33)
    yield "Twilio", "SK" + some(_HEX, 32)
    yield "JSON Web Token", make.jwt()
    yield "age", "AGE-SECRET" + "-KEY-1" + some("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58)
    yield "Curio", "curio" + "_" + some(_HEX, 16) + "_" + some(_HEX, 64)
    # These look like any other letters and digits.
    yield "Cohere", some(_ALNUM, 40)
    yield "Heroku", make.uuid()
    yield "Twilio auth token", some(_HEX, 32)
    yield "Databricks", "dapi" + some(_HEX, 32)
    yield "Mailgun", "key-" + some(_HEX, 32)
    yield "Datadog", some(_HEX, 40)


def _by_their_name(make: _Maker) -> Iterator[tuple[str, str]]:
    password = make.password
    for name in ("password", "passwd", "passphrase", "pwd", "DB_PASSWORD"):
        yield name, password()
    for name in ("secret", "clientSecret", "credentials"):
        yield name, make.some(_ALNUM, 24)
    for name in ("api_key", "apiKey", "OPENAI_API_KEY", "private_key"):
        yield name, make.some(_ALNUM, 32)
    for name in ("access_token", "refreshToken", "id_token", "X-Auth-Token", "token"):
        yield name, make.some(_ALNUM, 40)
    yield "Authorization", "Basic " + b64encode(f"me:{password()}".encode()).decode()
    yield "Set-Cookie", f"sid={make.some(_ALNUM, 20)}; Path=/"
    yield "pass", password()
    yield "auth", make.some(_HEX, 32)
    yield "pin", make.some("123456789", 4)
    yield "jwt", make.some(_URL_SAFE, 64)
    yield "bearer", make.some(_ALNUM, 40)
    yield "sessionid", make.some(string.ascii_lowercase + string.digits, 32)
    yield "api_key_1", make.some(_ALNUM, 32)
    yield "APIKEY2", make.some(_ALNUM, 32)
    yield "openai_key", make.some(_ALNUM, 32)
    yield "STRIPE_KEY", make.some(_ALNUM, 32)
    yield "refreshTokenValue", make.some(_ALNUM, 40)
    yield "AccountKey", make.some(_BASE64, 86) + "=="
    yield "pw", password()
    yield "key", make.some(_ALNUM, 32)
    yield "otp", make.some(string.digits, 6)


_FORMS = {
    "in a URL": "postgres://me:{}@db.example.org/app",
    "an option": "mysqldump --password {} app",
    "an option with =": "tool --api-key={} --verbose",
    "curl": "curl -u admin:{} https://example.org",
    "a header of curl": "curl -H 'Authorization: Bearer {}' https://example.org",
    "XML": "<config><password>{}</password></config>",
    "an attribute": '<add key="DbPassword" value="{}"/>',
    "netrc": "machine example.org login me password {}",
    "CSV": "user,password,role\nme,{},admin\n",
    "YAML, as a block": "db:\n  password: |\n    {}\n  user: me\n",
    "the next line": "Password:\n{}\n",
    "Go": 'password := "{}"',
    "a comparison": 'if password == "{}":',
    "with a type": 'password: str = "{}"',
    "three quotes": 'SECRET_KEY = """{}"""',
    "bytes": "SECRET_KEY = b'{}'",
    "a member": 'os.environ["API_KEY"] = "{}"',
    "Ruby": "{{:password => '{}'}}",
    "a name and its value": '{{"name": "DB_PASSWORD", "value": "{}"}}',
    "a pair": '{{"headers": [["X-API-Key", "{}"]]}}',
    "JSON in JSON": '{{"arguments": "{{\\"password\\": \\"{}\\"}}"}}',
    "JSON cut off": '{{"user": "me", "password": "{}", "ro',
    "a query": "https://example.org/?sig={}&page=2",
    "a sentence": "The password is {}.",
    "AWS in prose": "and its secret access key {} for the bucket",
    "encoded": "password%3D{}",
    "docker": "docker login -u me -p {}",
    "redis": "redis-cli -a {}",
}
_LONG = {"a query", "AWS in prose", "a pair"}


def _by_their_form(make: _Maker) -> Iterator[Made]:
    for what, form in _FORMS.items():
        secret = make.some(_ALNUM, 40) if what in _LONG else f"{make.password()[:-1]}x"
        yield Made(what, form.format(secret), secret)
    encoded = b64encode(f"password={make.password()}".encode()).decode()
    yield Made("base64", f"data: {encoded}", encoded)
    escaped = quote(make.password() + "%/", safe="")
    yield Made("percent", f"https://example.org/?password={escaped}&x=1", escaped)
    for kind in ("RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"):
        lines = make.lines(6)
        yield Made(kind, f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----\n", lines)
    lines = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC," + make.some("0123456789ABCDEF", 32)
    lines += "\n\n" + make.lines(6)
    kind = "EC PRIVATE KEY"
    yield Made("encrypted PEM", f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----", lines)


def _numbers(random: Random) -> Iterator[Made]:
    for what, gap in {
        "plain": "",
        "spaces": " ",
        "dots": ".",
        "no-break spaces": "\u00a0",
        "en dashes": "\u2013",
    }.items():
        digits = card(random)
        parts = gap.join(digits[at : at + 4] for at in range(0, 16, 4))
        yield Made(f"card, {what}", f"paid with {parts} today", parts)
    wide = card(random).translate({ord("0") + n: ord("\uff10") + n for n in range(10)})
    yield Made("card, full-width", f"paid with {wide} today", wide)
    yield Made("e-mail", "to alice.b+c@mail.example.co.uk", "alice.b+c@mail.example.co.uk")
    number = iban(random)
    yield Made("IBAN", f"to account {number}", number)
    phone = "+49 30 " + "".join(random.choices("23456789", k=7))
    yield Made("phone", f"call {phone} now", phone)
    ssn = f"{random.randint(100, 599)}-{random.randint(10, 99)}-{random.randint(1000, 9999)}"
    yield Made("SSN", f"her number is {ssn}.", ssn)


def secrets() -> list[Made]:
    """Return all of them: by shape, by name, by form, and numbers."""
    make = _Maker(20261129)
    return [
        *(Made(what, f"It says {key} is not valid.", key) for what, key in _by_their_shape(make)),
        *(Made(name, json.dumps({name: value}), value) for name, value in _by_their_name(make)),
        *_by_their_form(make),
        *_numbers(Random(20261129)),
    ]
