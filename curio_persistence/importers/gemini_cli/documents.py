"""The older chats of Gemini CLI: one JSON document, read message by message, however long it is.

Of one that was cut off, what comes before that is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curio_persistence.importers.common.json_array import ArrayItems
from curio_persistence.importers.common.json_lines import parse
from curio_persistence.importers.common.report import ReportBuilder

_MESSAGES = re.compile(r'"messages"\s*:\s*\[')


def read_document(path: Path, report: ReportBuilder) -> Iterator[Any]:
    """Yield the object without its messages, each message, and what follows, as a log has it.

    InvalidValueError where it cannot be read on.
    """
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        items = ArrayItems(file, report)
        yield _parsed(items.before(_MESSAGES) + '"messages": null}')
        for _, message in items:
            yield message
        yield {"$set": _parsed('{"messages": null' + items.after())}


def _parsed(text: str) -> Any:
    return parse(text.encode("utf-8", "surrogatepass"))
