"""The table of the shapes that makers give their keys, and what finds them: the name `api-keys`.

A new maker is a line in `SHAPES`. Where the makers say nothing, the lengths are those that
gitleaks' rules ask for, or less.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from curio_persistence.redaction.pattern import Pattern, Span, compiled, label

HEX = "0-9a-f"
CAPITALS = "A-Z0-9"
LETTERS = "A-Za-z0-9"
WORD = r"A-Za-z0-9_"
URL_SAFE = r"A-Za-z0-9_-"
BASE64 = r"A-Za-z0-9+/="


class Shape(NamedTuple):
    """A prefix, and at least (or `exactly`) so many characters of an alphabet.

    `alphabet` is what stands between the brackets of a character class. `also` is an expression
    that has to match behind the prefix, beside the alphabet.
    """

    maker: str
    prefix: str
    alphabet: str
    length: int
    exactly: bool = False
    also: str = ""

    @property
    def expression(self) -> str:
        """The regular expression. With the literal first, it is found four times as fast.

        Where a key is longer than expected, all of it is taken: half a key is as bad as a whole.
        """
        prefix = re.escape(self.prefix)
        # A prefix that begins with a letter does not begin within a word.
        begin = rf"{prefix}(?<![A-Za-z0-9]{prefix})(?:{self.also})[{self.alphabet}]"
        if self.exactly:
            return rf"{begin}{{{self.length}}}(?![A-Za-z0-9])"
        return rf"{begin}{{{self.length}}}[-\w{self.alphabet}]*+"


class Form(NamedTuple):
    """A shape of several parts: an expression, and a hint at it.

    The hint is a literal (`upto`), whose last character is rare in prose, and what `follows` it.
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
    Shape("Shopify", "shpat_", HEX, 32),
    Shape("Twilio", "SK", HEX, 32, exactly=True),
    Shape("age", "AGE-SECRET-KEY-1", CAPITALS, 58),
)
"""One line for each maker: prefix, alphabet, length."""

_PART = r"[\w-]"
_ARMOR = r"[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
FORMS = (
    # Not after a hyphen either: else each of "-eyJ-eyJ-eyJ…" would be looked through to the end.
    Form(
        "JSON Web Tokens",
        "eyJ",
        _PART,
        rf"eyJ(?<!{_PART}eyJ){_PART}++\.{_PART}++\.{_PART}*+(?:\.{_PART}*+){{0,2}}",
    ),
    # To its end, or, where that was cut off, as far as it goes. In source code it may be several
    # strings, one below the other, and never in JSON.
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
"""What stands behind each prefix. In prose, so many such characters seldom come in a row."""


def _hint(shape: Shape) -> tuple[str, str]:
    """Return a prefix up to its character that is rare in prose, and what follows that."""
    prefix = shape.prefix
    at = next((at for at, letter in enumerate(prefix) if not letter.islower()), 0)
    if prefix[-1] in "_-.":
        at = len(prefix) - 1
    return prefix[: at + 1], re.escape(prefix[at + 1 :]) + _ENOUGH


def _hints() -> str:
    """Return one expression that finds all shapes, each by its rare character.

    It takes a quarter of the time of one for each. What stands beside a rare character is looked
    at before the many prefixes that end in it are.
    """
    hints: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for upto, follows in (*map(_hint, SHAPES), *((form.upto, form.follows) for form in FORMS)):
        hints[upto[-1]][follows].append(upto)
    return "|".join(_hint_at(rare, beside) for rare, beside in hints.items())


def _hint_at(rare: str, beside: dict[str, list[str]]) -> str:
    before = {upto[-2:-1] for prefixes in beside.values() for upto in prefixes}
    any_of_them = (
        "" if "" in before else f"(?<=[{re.escape(''.join(sorted(before)))}]{re.escape(rare)})"
    )
    each = (f"(?={follows}){_after(prefixes)}" for follows, prefixes in beside.items())
    return f"{re.escape(rare)}{any_of_them}(?:{'|'.join(each)})"


def _after(prefixes: list[str]) -> str:
    if all(len(upto) == 1 for upto in prefixes):
        return ""  # What was found is all there is to it.
    return f"(?:{'|'.join(f'(?<={re.escape(upto)})' for upto in prefixes)})"


_HINTS = re.compile(_hints())


def _may_have(text: str) -> bool:
    return _HINTS.search(text) is not None or "earer " in text


def _spans(text: str) -> Iterator[Span]:
    for shape in SHAPES:
        if shape.prefix in text:
            yield from _spans_of(shape.expression, text)
    for form in FORMS:
        if form.upto in text:
            yield from _spans_of(form.expression, text)
    if "earer " in text:
        yield from (match.span(1) for match in _BEARER.finditer(text))


def _spans_of(expression: str, text: str) -> Iterable[Span]:
    return (match.span() for match in compiled(expression).finditer(text))


API_KEYS = Pattern("api-keys", label("api-key"), _may_have, _spans, within_words=True)
