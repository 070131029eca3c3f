"""The messages of a session that an agent sends with its next call of a model.

The last `context_assembled` or `messages_rebuilt` entry gives the messages to begin with, the
system prompt among them; the steps that were committed after it follow. A compaction puts its
summary, as a message of the user, in the place of the messages that it covers, except the system
prompt. Steps that are rolled back or hidden are left out, and condensed content is used.

What such an entry begins with may name the steps that its messages are, as `_sequence`, as the
messages of `StepView.to_message()` do. Messages that name none are as old as the entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from curio_persistence.runlog.entries import (
    CommittedStep,
    CompactionApplied,
    ContextAssembled,
    MessagesRebuilt,
    RunLogEntry,
)
from curio_persistence.runlog.steps import Marks

Message = dict[str, Any]
Beginning = ContextAssembled | MessagesRebuilt
COMPACTION = "compaction"
"""The reason of a `messages_rebuilt` entry whose messages have the summary already."""


class Item(NamedTuple):
    """A message, and the sequence of the step that it is, or of the entry that it comes from."""

    sequence: int
    message: Message
    step: CommittedStep | None = None

    @property
    def is_system(self) -> bool:
        return self.message.get("role") == "system"


class Contexts:
    """The messages of a session, whose entries are taken one after another."""

    def __init__(self) -> None:
        self._entries: list[RunLogEntry] = []

    def take(self, entry: RunLogEntry) -> None:
        """Apply the next entry, if it changes the messages."""
        if isinstance(entry, CommittedStep | CompactionApplied | Beginning):
            self._entries.append(entry)

    def messages(
        self, marks: Marks, *, agent_id: str | None, after_compaction: bool
    ) -> list[Message]:
        """Return the messages of an agent; those of all agents for None."""
        entries = [
            entry
            for entry in self._entries
            if agent_id in (None, entry.agent_id) and entry.sequence not in marks.rolled_back
        ]
        items = _compacted(entries) if after_compaction else _complete(entries)
        return _sent(items, entries, marks)


def _compacted(entries: Sequence[RunLogEntry]) -> list[Item]:
    """Return the messages from the last beginning on, with summaries in the place of steps."""
    first = _last_beginning(entries)
    beginning = entries[first] if first >= 0 else None
    items = _begun(beginning)
    has_summary = isinstance(beginning, MessagesRebuilt) and beginning.reason == COMPACTION
    known = {sequence_of(item.message) for item in items}
    for entry in entries[first + 1 :]:
        if isinstance(entry, CompactionApplied):
            items = items if has_summary else _replaced(items, entry)
        elif isinstance(entry, CommittedStep) and entry.sequence not in known:
            items.append(_item(entry))
            has_summary = False
    return items


def _complete(entries: Sequence[RunLogEntry]) -> list[Item]:
    """Return the system prompt and all steps, none of them compacted."""
    first = _last_beginning(entries)
    system = [item for item in _begun(entries[first] if first >= 0 else None) if item.is_system]
    return system + [_item(entry) for entry in entries if isinstance(entry, CommittedStep)]


def _last_beginning(entries: Sequence[RunLogEntry]) -> int:
    """Return the place of the last entry that gives the messages to begin with; -1 for none."""
    for at in range(len(entries) - 1, -1, -1):
        if isinstance(entries[at], Beginning):
            return at
    return -1


def _begun(entry: RunLogEntry | None) -> list[Item]:
    """Return the messages of a beginning."""
    if not isinstance(entry, Beginning):
        return []
    return [Item(sequence_of(each) or entry.sequence, each) for each in entry.messages]


def sequence_of(message: Message) -> int:
    """Return the sequence of the step that a message names; 0 if it names none."""
    named = message.get("_sequence")
    return named if type(named) is int and named > 0 else 0


def _item(step: CommittedStep) -> Item:
    return Item(step.sequence, {"role": str(step.role)}, step)


def _replaced(items: list[Item], entry: CompactionApplied) -> list[Item]:
    """Return messages with the summary in the place of those that it covers, if there are any."""
    covered = [
        entry.start_sequence <= item.sequence <= entry.end_sequence and not item.is_system
        for item in items
    ]
    if True not in covered:
        return items
    first = covered.index(True)
    summary = entry.summary or entry.analysis.get("summary")
    told = [Item(entry.end_sequence, {"role": "user", "content": summary})] if summary else []
    rest = [item for item, is_covered in zip(items, covered, strict=True) if not is_covered]
    return rest[:first] + told + rest[first:]


def _sent(items: Iterable[Item], entries: Iterable[RunLogEntry], marks: Marks) -> list[Message]:
    """Return messages as they are sent: without hidden steps, and with condensed content."""
    steps = {entry.sequence: entry for entry in entries if isinstance(entry, CommittedStep)}
    sent = []
    for item in items:
        named = sequence_of(item.message)
        step = item.step or steps.get(named)
        if (named and named in marks.rolled_back) or (
            step is not None and step.step_id in marks.hidden
        ):
            continue
        message = item.message if item.step is None else marks.view(item.step).to_message()
        if step is not None and step.step_id in marks.condensed:
            message = {**message, "content": marks.condensed[step.step_id]}
        sent.append({name: value for name, value in message.items() if name != "_sequence"})
    return sent
