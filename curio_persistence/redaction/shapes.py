"""List the formats of vendors' keys, and find keys in them: the pattern `api-keys`.

A new vendor is a line in `SHAPES`. Lengths that a vendor does not publish are at most those that
the rules of gitleaks require.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from curio_persistence.redaction.pattern import Pattern, Span, compiled, label

HEX = "0-9a-f"
CAPITALS = "A-Z0-9"
LETTERS = "A-Za-z0-9"
WORD = r"A-Za-z0-9_"
URL_SAFE = r"A-Za-z0-9_-"
BASE64 = r"A-Za-z0-9+/="


class Shape(NamedTuple):
    """A prefix, followed by at least (or `exactly`) `length` characters of an alphabet.

    `alphabet` is the content of a character class. `also` is an expression that must match after
    the prefix in addition.
    """

    maker: str
    prefix: str
    alphabet: str
    length: int
    exactly: bool = False
    also: str = ""

    @property
    def expression(self) -> str:
        """Return the regular expression. It starts with a literal, which is four times as fast.

        It matches a longer key to its end, so that no part of it remains.
        """
        prefix = re.escape(self.prefix)
        # The prefix must not continue a word.
        begin = rf"{prefix}(?<![A-Za-z0-9]{prefix})(?:{self.also})[{self.alphabet}]"
        if self.exactly:
            return rf"{begin}{{{self.length}}}(?![A-Za-z0-9])"
        return rf"{begin}{{{self.length}}}[-\w{self.alphabet}]*+"


class Form(NamedTuple):
    """A format of several parts: an expression, and a hint that precedes a search for it.

    The hint is a literal (`upto`), whose last character is rare in prose, and an expression for the
    text that `follows` it.
    """

    maker: str
    upto: str
    follows: str
    expression: str


SHAPES = (
    # Models.
    Shape(
        "OpenAI, Anthropic, OpenRouter, DeepSeek",
        "sk-",
        URL_SAFE,
        16,
        also=r"(?=[A-Za-z_-]{0,48}\d)",
    ),
    Shape("Hugging Face", "hf_", LETTERS, 30),
    Shape("Hugging Face, organization", "api_org_", LETTERS, 30),
    Shape("Groq", "gsk_", LETTERS, 40),
    Shape("Replicate", "r8_", LETTERS, 30),
    Shape("Perplexity", "pplx-", LETTERS, 40),
    Shape("xAI", "xai-", LETTERS, 40),
    Shape("Fireworks", "fw_", LETTERS, 20),
    Shape("NVIDIA", "nvapi-", URL_SAFE, 40),
    Shape("Curio", "curio_", f"{HEX}_", 81, exactly=True),
    Shape("LangSmith", "lsv2_pt_", LETTERS, 32),
    Shape("LangSmith, service", "lsv2_sk_", LETTERS, 32),
    Shape("LangSmith, version 1", "ls__", LETTERS, 32),
    Shape("Tavily", "tvly-", URL_SAFE, 20),
    Shape("Pinecone", "pcsk_", WORD, 40),
    # Clouds.
    *(Shape("AWS", begin, CAPITALS, 16, exactly=True) for begin in ("AKIA", "ASIA")),
    Shape("Google", "AIza", URL_SAFE, 35),
    Shape("Google, OAuth", "ya29.", URL_SAFE, 20),
    Shape("Google, client secret", "GOCSPX-", URL_SAFE, 24),
    Shape("DigitalOcean", "dop_v1_", HEX, 64),
    Shape("DigitalOcean, OAuth", "doo_v1_", HEX, 64),
    Shape("DigitalOcean, refresh", "dor_v1_", HEX, 64),
    Shape("Vault, service", "hvs.", URL_SAFE, 24),
    Shape("Vault, batch", "hvb.", URL_SAFE, 24),
    Shape("Fly.io", "fm2_", BASE64, 60),
    Shape("Pulumi", "pul-", HEX, 40),
    Shape("PlanetScale", "pscale_tkn_", r"\w=.-", 32),
    Shape("PlanetScale, password", "pscale_pw_", r"\w=.-", 32),
    Shape("Supabase", "sbp_", HEX, 40),
    # Code.
    *(Shape("GitHub", f"gh{kind}_", WORD, 20) for kind in "oprsu"),
    Shape("GitHub, fine-grained", "github_pat_", WORD, 20),
    *(
        Shape("GitLab", f"gl{kind}-", URL_SAFE, 20)
        for kind in ("pat", "rt", "dt", "ptt", "ft", "oas", "soat", "agent", "imt")
    ),
    Shape("npm", "npm_", LETTERS, 30),
    Shape("PyPI", "pypi-", URL_SAFE, 50),
    Shape("RubyGems", "rubygems_", HEX, 40),
    Shape("Docker Hub", "dckr_pat_", URL_SAFE, 20),
    Shape("Atlassian", "ATATT3", r"A-Za-z0-9_=-", 100),
    Shape("Bitbucket", "ATBB", LETTERS, 30),
    Shape("Linear", "lin_api_", LETTERS, 30),
    Shape("Notion", "ntn_", LETTERS, 40),
    Shape("Postman", "PMAK-", URL_SAFE, 50),
    Shape("Sentry", "sntrys_", r"A-Za-z0-9+/=_-", 40),
    Shape("Grafana", "glsa_", WORD, 32),
    # Payments and messages.
    *(
        Shape("Stripe", f"{kind}_{mode}_", LETTERS, 16)
        for kind in ("sk", "rk")
        for mode in ("live", "test")
    ),
    Shape("Stripe, webhook", "whsec_", r"A-Za-z0-9+/=", 24),
    Shape("SendGrid", "SG.", r"A-Za-z0-9_.-", 50),
    *(Shape("Slack", f"xox{kind}-", URL_SAFE, 16) for kind in "abcdeprs"),
    Shape("Slack, app", "xapp-", URL_SAFE, 20),
    Shape("Slack, webhook", "hooks.slack.com/services/", "A-Za-z0-9/", 30),
    Shape("Discord, webhook", "discord.com/api/webhooks/", r"\w/-", 60),
    Shape("Mailgun", "key-", HEX, 32, exactly=True),
    Shape("Shopify", "shpat_", HEX, 32),
    Shape("Twilio", "SK", HEX, 32, exactly=True),
    Shape("age", "AGE-SECRET-KEY-1", CAPITALS, 58),
)
"""Vendor, prefix, alphabet, length."""

_PART = r"[\w-]"
_ARMOR = r"[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
FORMS = (
    # Not after a hyphen: each start in "-eyJ-eyJ-eyJ…" would be searched to the end.
    Form(
        "JSON Web Tokens",
        "eyJ",
        _PART,
        rf"eyJ(?<!{_PART}eyJ){_PART}++\.{_PART}++\.{_PART}*+(?:\.{_PART}*+){{0,2}}",
    ),
    # To the end marker, or as far as a truncated key goes. In source code a key may be several
    # strings, each on its own line; JSON has no such sequence.
    Form(
        "PEM and PGP",
        "-----B",
        "EGIN ",
        rf"-----BEGIN {_ARMOR}"
        r'(?:[^"-]|-(?!----(?:BEGIN|END) )|"[ \t+\\]{0,8}\r?\n[ \t]{0,80}[bfru]?")*+'
        rf"(?:-----END {_ARMOR})?",
    ),
    Form("Telegram", ":A", rf"A{_PART}{{16}}", rf"(?<!\d)\d{{8,16}}:AA{_PART}{{33}}{_PART}*+"),
    Form(
        "Discord",
        ".",
        rf"{_PART}{{6}}\.{_PART}{{27}}",
        rf"(?<!{_PART})[MNO]{_PART}{{22,27}}\.{_PART}{{6}}\.{_PART}{{27}}{_PART}*+",
    ),
    Form("Azure AD", "Q", "~", r"(?<![\w.~-])[\w.~-]{3}\dQ~[\w.~-]{31,}+"),
)

_BEARER = re.compile(r"earer (?<=[Bb]earer )([\w.~+/=-]{16,}+)")
_ENOUGH = r"[\w+/=.-]{16}"
"""Characters after each prefix. In prose, a run of this length is rare."""


class _Hint(NamedTuple):
    """A character that is rare in prose, a search for the shapes with it, and their expressions.

    The number of the group that matches is the number of the expression, from 1.
    """

    rare: str
    beside: re.Pattern[str]
    expressions: tuple[str, ...]


def _form(shape: Shape) -> Form:
    """Return a shape as a form, with a hint at the rare character of its prefix."""
    prefix = shape.prefix
    at = next((at for at, letter in enumerate(prefix) if not letter.islower()), 0)
    if prefix[-1] in "_-.":
        at = len(prefix) - 1
    follows = re.escape(prefix[at + 1 :]) + _ENOUGH
    return Form(shape.maker, prefix[: at + 1], follows, shape.expression)


def _hints() -> Iterator[_Hint]:
    """Yield a hint for each rare character.

    A search for an expression that starts with one literal is five times as fast as a search for
    one that starts with any of several.
    """
    forms: dict[str, list[Form]] = defaultdict(list)
    for form in (*map(_form, SHAPES), *FORMS):
        forms[form.upto[-1]].append(form)
    for rare, of_rare in forms.items():
        of_rare.sort(key=lambda form: form.follows)
        expressions = tuple(form.expression for form in of_rare)
        yield _Hint(rare, re.compile(_beside(rare, of_rare)), expressions)


def _beside(rare: str, forms: list[Form]) -> str:
    """Return an expression for all of them, with a group for each.

    Characters next to the rare one are checked first, then the many prefixes that end in it.
    """
    before = {form.upto[-2:-1] for form in forms}
    known = f"(?<=[{re.escape(''.join(sorted(before)))}]{re.escape(rare)})"
    each = (
        f"(?={follows})(?:{'|'.join(f'(?<={re.escape(form.upto)})()' for form in those)})"
        for follows, those in groupby(forms, key=lambda form: form.follows)
    )
    return f"{re.escape(rare)}{'' if '' in before else known}(?:{'|'.join(each)})"


_HINTS = tuple(_hints())


def _may_have(text: str) -> bool:
    for rare, beside, _ in _HINTS:
        if rare in text and beside.search(text):
            return True
    return "earer " in text


def _spans(text: str) -> Iterator[Span]:
    for rare, beside, expressions in _HINTS:
        if rare in text:
            for number in {hint.lastindex or 0 for hint in beside.finditer(text)}:
                found = compiled(expressions[number - 1]).finditer(text)
                yield from (match.span() for match in found)
    if "earer " in text:
        yield from (match.span(1) for match in _BEARER.finditer(text))


API_KEYS = Pattern("api-keys", label("api-key"), _may_have, _spans, within_words=True)
