"""Recorded content as a file: browsers save it, and never show it as a page of ours."""

from __future__ import annotations

import re
from urllib.parse import quote

from starlette.responses import Response

from curio_persistence.console.security.headers import DOWNLOAD_POLICY

_ODD = re.compile(r"[^\w. -]+")
_LONGEST = 100


def attachment(text: str, media_type: str, name: str) -> Response:
    """Return a text as a file of this name, in which odd characters become `_`."""
    name = _ODD.sub("_", name[-_LONGEST:]).lstrip(".") or "file"
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
        "Content-Security-Policy": DOWNLOAD_POLICY,
    }
    content = text.encode("utf-8", "backslashreplace")
    return Response(content, headers=headers, media_type=f"{media_type}; charset=utf-8")
