"""The marks that every row has: icons, states, times, costs and counts.

Templates call these as `ui.icon("bell")`. They are functions, not macros: a list calls them
hundreds of times, and a macro takes five times as long.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from curio_persistence.console.render.times import clock_time, iso_time
from curio_persistence.views import wording
from curio_persistence.views.html.text import harmless

SPRITE = "lucide-1.62.0.svg"
_STATES = {
    "running": ("loader", "run"),
    "active": ("circle-dot", "run"),
    "completed": ("circle-check", "ok"),
    "success": ("circle-check", "ok"),
    "resolved": ("circle-check", "ok"),
    "ok": ("circle-check", "ok"),
    "error": ("circle-x", "bad"),
    "failed": ("circle-x", "bad"),
    "timeout": ("clock-alert", "bad"),
    "firing": ("bell", "bad"),
    "failing": ("triangle-alert", "warn"),
    "cancelled": ("circle-slash", "dim"),
    "pending": ("circle-dashed", "dim"),
    "idle": ("clock", "dim"),
    "disabled": ("bell-off", "dim"),
}
_ANOTHER = ("circle-dot", "dim")
_EXACT_BELOW = 10_000
"""A count from here on is rounded, and has a title with all its digits."""


@pass_context
def icon(context: Context, name: str, class_: str = "") -> Markup:
    """Return an icon by its Lucide name; those of `static/vendor/VENDOR.toml` are there."""
    return _icon(context["paths"].static(SPRITE), name, class_)


@lru_cache(maxsize=1024)
def _icon(sprite: str, name: str, class_: str) -> Markup:
    names = escape(f"icon {class_}".strip())
    return Markup('<svg class="{}" aria-hidden="true"><use href="{}#{}"/></svg>').format(
        names, sprite, name
    )


@pass_context
def status(context: Context, word: str) -> Markup:
    """Return a status as its icon and its word."""
    return _status(context["paths"].static(SPRITE), word)


@lru_cache(maxsize=256)
def _status(sprite: str, word: str) -> Markup:
    shape, tone = _STATES.get(word, _ANOTHER)
    return Markup('<span class="status {}">{}{}</span>').format(
        tone, _icon(sprite, shape, ""), harmless(word)
    )


@pass_context
def when(context: Context, moment: datetime | None) -> Markup | str:
    """Return how long ago a moment is; on hover the moment itself."""
    if moment is None:
        return wording.NOTHING
    viewer, iso = context["viewer"], iso_time(moment)
    title = f"{clock_time(viewer, moment)} · {iso}"
    ago = wording.ago(moment, viewer.now)
    return Markup(f'<time datetime="{iso}" title="{title}">{ago}</time>')


@pass_context
def clock(context: Context, moment: datetime | None) -> Markup | str:
    """Return a moment in the reader's zone; on hover in UTC."""
    if moment is None:
        return wording.NOTHING
    iso, told = iso_time(moment), clock_time(context["viewer"], moment)
    return Markup(f'<time datetime="{iso}" title="{iso}">{told}</time>')


def took(ms: float | None) -> Markup | str:
    """Return a length of time; what is not one is said in words."""
    if ms is None:
        return Markup('<span class="dim">no times</span>')
    return Markup('<span class="warn">end before begin</span>') if ms < 0 else wording.span(ms)


def money(cost: Decimal | None, unpriced: int = 0) -> Markup:
    """Return a cost, rounded; on hover exactly. One that is not known is said so."""
    if cost is None:
        return Markup('<span class="dim">unknown</span>')
    told = f'<span title="{wording.money(cost)}">{wording.price(cost)}</span>'
    if unpriced:
        more = f"+ {wording.number(unpriced)} unpriced"
        told += f' <span class="dim" title="{unpriced} calls have no known cost">{more}</span>'
    return Markup(told)


def count(n: int | None) -> Markup | str:
    """Return a count; one that is rounded has all its digits on hover."""
    text = wording.number(n)
    if n is None or n < _EXACT_BELOW:
        return text
    return Markup(f'<span title="{n:,}">{text}</span>')


def chip(text: str, href: str | None = None) -> Markup:
    """Return a short recorded text in a frame, as a link where it leads somewhere."""
    shown = escape(harmless(text))
    if href is None:
        return Markup(f'<span class="chip" title="{shown}" dir="auto">{shown}</span>')
    return Markup(f'<a class="chip" href="{escape(href)}" title="{shown}" dir="auto">{shown}</a>')
