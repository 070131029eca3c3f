"""Texts that try to become something else than text on a page."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from curio_persistence import AgentLLMUsage, AgentRun, AgentRunEvent, Persistence

HOSTILE = (
    "<script>alert(1)</script>",
    "</script></style></textarea></title><img src=//x.example/i onerror=alert(1)>",
    "<svg/onload=alert(1)><foreignObject><iframe srcdoc='<script>alert(1)</script>'>",
    "\" onmouseover=alert(1) autofocus onfocus=alert(1) x=\"",
    "' style='position:fixed' hx-get='/runs' hx-trigger='load",
    "<div hx-get=/runs hx-trigger=load hx-on:click=alert(1)>x</div>",
    "[click](javascript:alert(1)) ![image](https://x.example/i.png) <javascript:alert(1)>",
    "[a](data:text/html;base64,PHNjcmlwdD4=) [b](vbscript:x) [c](//x.example) http://x\"onx=1",
    "{{ 7 * 7 }} {% include '/etc/passwd' %} ${7*7} #{7*7}",
    "javascript:alert(1)",
    "https://x.example/\"><script>alert(1)</script>",
    "HTTPS://x.example/'onclick='alert(1)",
    "a\u202egnp.exe \u2066x\u2069 \u200fback",
    "\x00\x01\x1b[2J\x07\x9b\x7f\ufeff\ufffe",
    "\ud800 alone",
    "&lt;b&gt; &amp; &#x3c;script&#x3e;",
    "a/b ../.. %2e%2e %00 ?x#y",
    "👩\u200d🚀" * 100,
    "\u0301" * 500,
    "<!--", "]]>", "<![CDATA[",
)  # fmt: skip
"""Scripts, attributes, links, templates, controls, and what a path could mistake."""

_BEGIN = datetime(2026, 11, 29, 8, 20, tzinfo=UTC)
_STATUS = 50
"""Characters that a status may have."""


def record_hostile(persistence: Persistence) -> None:
    """Record for each text a run, `hostile-0` and so on, which says it in every field."""
    for number, text in enumerate(HOSTILE):
        run_id, name = f"hostile-{number}", named(text)
        persistence.create_agent_run(_run(text, name, run_id))
        persistence.create_agent_run(AgentRun(name, f"{run_id}-child", parent_run_id=run_id))
        for kind in (name, "tool_call", "span", "metric", "log", "iteration_started"):
            persistence.log_agent_run_event(_event(text, name, run_id, kind[:_STATUS]))
        persistence.log_llm_usage(_call(text, name, run_id))
        persistence.scores.set(run_id, "good", label=name, comment=text, author=name)


def named(text: str) -> str:
    """Return a text as a name may be: without NUL and lone surrogates, of 100 characters."""
    return text.replace("\0", "").replace("\ud800", "")[:100]


def _run(text: str, name: str, run_id: str) -> AgentRun:
    return AgentRun(
        name,
        run_id,
        agent_name=name,
        objective=text,
        additional_context=text,
        started_at=_BEGIN,
        finished_at=_BEGIN,
        final_synthesis_output=text,
        execution_history=text,
        status=name[:_STATUS],
        error_message=text,
        metadata={text: text},
        session_id=name,
        tags=[name],
        metrics={text: text},
        user_id=name,
    )


def _event(text: str, name: str, run_id: str, kind: str) -> AgentRunEvent:
    said = ("tool_name", "name", "args", "result", "error", "message", "iteration", "traceback")
    return AgentRunEvent(
        name,
        run_id,
        name,
        _BEGIN,
        kind,
        {**dict.fromkeys(said, text), text: {text: [text]}},
        level=name[:20],
        message=text,
        span_id=name,
        contract_id=name,
        artifact_uri=name,
        metadata={text: text},
    )


def _call(text: str, name: str, run_id: str) -> AgentLLMUsage:
    image = {"type": "image_url", "image_url": {"url": text}}
    call = {"type": "tool_use", "name": text, "input": text}
    parts = [{"type": "text", "text": text}, image, call]
    messages = [{"role": text, "content": text}, {"role": "assistant", "content": parts}]
    return AgentLLMUsage(
        name,
        run_id,
        name,
        name,
        prompt=json.dumps(messages),
        input_params={text: text},
        response_content=text,
        usage_metrics={text: text},
        status=name[:_STATUS],
        error_message=text,
        created_at=_BEGIN,
    )
