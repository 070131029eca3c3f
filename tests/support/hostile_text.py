"""Texts that try to become something else than text on a page."""

from __future__ import annotations

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
