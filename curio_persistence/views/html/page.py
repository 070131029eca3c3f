"""A run as one HTML page that can be sent to a colleague: no scripts, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from curio_persistence.views.histories import History
from curio_persistence.views.html.text import escaped
from curio_persistence.views.html.values import IN_A_FILE, Renderer
from curio_persistence.views.scores import said_of_score
from curio_persistence.views.steps import Branch, Step, begin_of, steps_of, tree_of
from curio_persistence.views.values import length_of_time, milliseconds

_STYLE = """\
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt, .when { opacity: .7; } dd { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
ol { list-style: none; padding-left: 1rem; border-left: 2px solid #8886; margin: .3rem 0; }
summary { cursor: pointer; overflow-wrap: anywhere; } .leaf { padding-left: 1rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #8882; padding: .5rem; }
dd pre { margin: 0; }
.failed { color: light-dark(#b3261e, #ff8a80); }
.text, .string { white-space: pre-wrap; overflow-wrap: anywhere; }
.tree div { padding-left: 1.2rem; } .tree details { display: inline-block; vertical-align: top; }
.tree b, .role, .call { font-weight: 600; opacity: .8; } .tree i, .cut-note { opacity: .7; }
.message { border-left: 3px solid #8886; padding-left: .7rem; margin: .3rem 0; }
.role, .call, .cut-note { margin: 0; font-size: .85em; } .by-model { border-color: #7c53dc; }
.chip { border: 1px solid #8886; border-radius: 6px; padding: 0 .4rem; }
@media print { body { margin: 0; max-width: none; } li { break-inside: avoid-page; } }
@media print { ::details-content { content-visibility: visible; display: block; } }
"""


_RENDERER = Renderer(IN_A_FILE)


def page_of(history: History) -> str:
    """Return a whole HTML document: the run, its scores, and its steps as a tree that unfolds."""
    run = history.run
    title = escaped(f"Run {run.run_id}")
    return "\n".join(
        (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "style-src 'unsafe-inline'\">",
            f"<title>{title}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>",
            *_definitions(_head(history)),
            *_story(history),
            "</body>\n</html>\n",
        )
    )


def _head(history: History) -> dict[str, Any]:
    run, totals = history.run, history.totals
    return {
        "agent": f"{run.agent_id} ({run.agent_name})" if run.agent_name else run.agent_id,
        "status": run.status,
        "started": _moment(run.started_at),
        "took": _took(milliseconds(run.started_at, run.finished_at)),
        "session": run.session_id,
        "user": run.user_id,
        "parent run": run.parent_run_id,
        "tags": ", ".join(run.tags or ()) or None,
        "model calls": totals.calls or None,
        "tokens": f"{totals.input_tokens:,} in, {totals.output_tokens:,} out",
        "cost": None if totals.cost_usd is None else f"${totals.cost_usd:,f}",
        "scores": "\n".join(map(said_of_score, history.scores or ())) or None,
        "objective": run.objective or None,
        "error": run.error_message,
        "output": run.final_synthesis_output,
        "metrics": run.metrics,
        "metadata": run.metadata,
    }


def _story(history: History) -> Iterator[str]:
    begin = begin_of(history.run)
    if history.cut_before:
        yield "<p>… what came before is left out</p>"
    yield from _list(tree_of(steps_of(history)), begin)
    if history.cut_after:
        yield "<p>… what came after is left out</p>"


def _list(branches: Iterable[Branch], begin: datetime) -> Iterator[str]:
    yield "<ol>"
    for branch in branches:
        yield from _item(branch, begin)
    yield "</ol>"


def _item(branch: Branch, begin: datetime) -> Iterator[str]:
    step = branch.step
    parts = {**({"error": step.error} if step.error else {}), **step.parts}
    if not parts and not branch.below and step.child is None:
        yield f'<li class="leaf">{_headline(step, begin)}</li>'
        return
    is_open = " open" if step.error or branch.below or step.child else ""
    yield f"<li><details{is_open}><summary>{_headline(step, begin)}</summary>"
    yield from _definitions(parts)
    if step.child is not None and step.child.events is not None:
        yield from _list(tree_of(steps_of(step.child)), begin)
    if branch.below:
        yield from _list(branch.below, begin)
    yield "</details></li>"


def _headline(step: Step, begin: datetime) -> str:
    after = f"{(step.at - begin) / timedelta(seconds=1):+.3f} s"
    run_id = None if step.child is None else step.child.run.run_id
    word = "failed" if step.error else None if step.level == "info" else step.level
    open_end = "(no end recorded)" if step.is_open else None
    told = (word, step.kind, step.name, run_id, _took(step.took_ms), _used(step), open_end)
    style = ' class="failed"' if step.error else ""
    text = escaped(" · ".join(part for part in told if part))
    return f'<span class="when">{after}</span> <span{style}>{text}</span>'


def _used(step: Step) -> str | None:
    known = (
        None if step.input_tokens is None else f"{step.input_tokens:,} in",
        None if step.output_tokens is None else f"{step.output_tokens:,} out",
        None if step.cost_usd is None else f"${step.cost_usd:,f}",
    )
    return ", ".join(part for part in known if part) or None


def _definitions(values: Mapping[str, Any]) -> Iterator[str]:
    yield "<dl>"
    for name, value in values.items():
        if value not in (None, ""):
            yield f"<dt>{escaped(name)}</dt><dd>{_RENDERER.part(name, value)}</dd>"
    yield "</dl>"


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _took(taken: float | None) -> str | None:
    return None if taken is None else length_of_time(taken)
