"""The entries of a run log: what they hold, and that they come back from JSON as they were."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, dataclass, field, fields
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest

from curio_persistence.errors import InvalidValueError
from curio_persistence.runlog import registry
from curio_persistence.runlog.codecs import decode, encode
from curio_persistence.runlog.entries import (
    AssistantStepCommitted,
    CommittedStep,
    HookFailed,
    LLMCallCompleted,
    MessagesRebuilt,
    RunFinished,
    RunLogEntry,
    RunLogEntryKind,
    RunStarted,
    TerminationDecided,
    UnknownEntry,
    UserStepCommitted,
    class_of,
    register,
)
from curio_persistence.runlog.values import (
    ChannelContext,
    ContentPart,
    ContentType,
    MessageRole,
    RunMetrics,
    StepMetrics,
    TerminationReason,
    UserMessage,
    content_of,
    text_of,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PLACE: dict[str, Any] = {
    "sequence": 3,
    "session_id": "chat",
    "run_id": "run",
    "agent_id": "guide",
    "created_at": NOON,
}


def again(entry: RunLogEntry) -> RunLogEntry:
    """Return what is read back of an entry that was written."""
    place = {each.name: getattr(entry, each.name) for each in fields(RunLogEntry)}
    return decode(entry.kind, encode(entry), **place)


@pytest.fixture
def kinds() -> Iterator[None]:
    """Forget the kinds that a test registers."""
    known, upgrades = dict(registry._KINDS), dict(registry._UPGRADES)
    yield
    for stored, before in ((registry._KINDS, known), (registry._UPGRADES, upgrades)):
        stored.clear()
        stored.update(before)


def test_each_class_is_known_by_its_name_in_snake_case() -> None:
    for kind in RunLogEntryKind:
        cls = class_of(kind)
        assert cls is not None
        words = re.findall("LLM|[A-Z][a-z]+", cls.__name__)
        assert "_".join(words).lower() == kind == cls.kind


def test_an_entry_needs_its_own_fields_and_cannot_be_changed() -> None:
    failed = HookFailed(**PLACE, phase="before", handler_name="log", error="no disk")
    assert (failed.critical, failed.traceback, failed.kind) == (False, None, "hook_failed")
    with pytest.raises(TypeError, match="handler_name"):
        HookFailed(**PLACE, phase="before", error="no disk")
    with pytest.raises(FrozenInstanceError):
        failed.phase = "after"


def test_an_entry_is_made_now_unless_it_is_told() -> None:
    entry = RunStarted(sequence=1, session_id="s", run_id="r", agent_id="a")
    assert abs((datetime.now(UTC) - entry.created_at).total_seconds()) < 60


def test_what_a_user_says_is_read_back_in_its_form() -> None:
    parts = [
        ContentPart(ContentType.TEXT, "look"),
        ContentPart(ContentType.IMAGE, url="https://x/y.png", metadata={"alt": None}),
    ]
    for said in ("hello", '{"__type": "user_message"}', parts, [], UserMessage(parts)):
        assert again(RunStarted(**PLACE, user_input=said)) == RunStarted(**PLACE, user_input=said)
    told = UserMessage(parts, ChannelContext("slack", {"at": NOON}))
    entry = UserStepCommitted(**PLACE, step_id="1", role=MessageRole.USER, user_input=told)
    assert again(entry) == entry
    assert text_of(told) == "look"
    assert content_of("hello") == "hello"
    assert content_of(told) == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
    ]


def test_none_and_times_within_values_are_kept() -> None:
    messages = [{"role": "assistant", "content": None, "at": NOON, "__datetime__": "2026-01-01"}]
    entry = MessagesRebuilt(**PLACE, reason="test", messages=[*messages, {"__datetime__": 1}])
    assert again(entry) == entry
    metrics = StepMetrics(start_at=NOON, total_tokens=0)
    completed = LLMCallCompleted(**PLACE, metrics=metrics)
    assert again(completed) == completed
    assert metrics.to_dict()["start_at"] == "2026-11-20T12:00:00+00:00"
    finished = RunFinished(**PLACE, metrics={"cost": None, **RunMetrics().to_dict()})
    assert again(finished) == finished


def test_what_json_lacks_is_stored_as_what_is_nearest_to_it() -> None:
    loop: list[Any] = []
    loop.append({"loop": loop})
    odd = {"nan": float("nan"), "tuple": (1, 2), "set": {1}, 7: Decimal("0.1")}
    read = again(MessagesRebuilt(**PLACE, reason="test", messages=[odd, *loop]))
    assert isinstance(read, MessagesRebuilt)
    assert read.messages[0] == {"nan": "nan", "tuple": [1, 2], "set": [1], "7": "0.1"}


def test_words_are_members_of_their_enums_and_other_words_are_kept() -> None:
    decided = TerminationDecided(
        **PLACE, termination_reason=TerminationReason.TOOL_LIMIT, phase="tools", source="limits"
    )
    read = again(decided)
    assert isinstance(read, TerminationDecided)
    assert read.termination_reason is TerminationReason.TOOL_LIMIT
    stored = encode(decided).replace("tool_limit", "rain")
    other = decode("termination_decided", stored, **PLACE)
    assert isinstance(other, TerminationDecided)
    assert other.termination_reason == "rain"


def test_a_kind_that_is_not_registered_is_kept_as_it_is() -> None:
    stored = '{"order_id": "7", "lines": [1.5, null]}'
    entry = decode("order_sent", stored, **PLACE)
    assert entry == UnknownEntry(
        **PLACE, kind="order_sent", data={"order_id": "7", "lines": [1.5, None]}
    )
    assert encode(entry) == stored
    assert again(entry) == entry


@pytest.mark.parametrize("stored", [None, "", "[1]", "{", '{"phase": 1}', '{"__version": "x"}'])
def test_fields_that_are_gone_or_damaged_make_an_unknown_entry(stored: str | None) -> None:
    entry = decode("hook_failed", stored, **PLACE)
    assert isinstance(entry, UnknownEntry)
    assert entry.kind == "hook_failed"


def test_a_member_that_the_class_does_not_know_is_ignored() -> None:
    entry = decode("run_failed", '{"error": "no", "colour": "red"}', **PLACE)
    assert entry == class_of("run_failed")(**PLACE, error="no")


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Line:
    item: str
    price: Decimal
    due: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class OrderSent(RunLogEntry):
    order: str
    lines: tuple[Line, ...] = ()
    sizes: tuple[int, int] = (0, 0)
    colours: dict[str, Colour] = field(default_factory=dict)
    note: str | None = "none"


@pytest.mark.usefixtures("kinds")
def test_an_application_registers_kinds_with_types_of_its_own() -> None:
    assert register("order_sent")(OrderSent) is OrderSent
    lines = (Line("tea", Decimal("2.50"), NOON), Line("cup", Decimal(1)))
    entry = OrderSent(
        **PLACE, order="7", lines=lines, sizes=(1, 2), colours={"cup": Colour.RED}, note=None
    )
    assert again(entry) == entry
    assert json.loads(encode(entry))["lines"][1] == {"item": "cup", "price": "1"}
    register("order_sent")(OrderSent)  # A notebook's cell may run again.


@pytest.mark.usefixtures("kinds")
def test_an_older_version_is_read_by_the_upgrade_and_a_newer_one_is_unknown() -> None:
    asked = []

    def upgrade(stored: dict[str, Any], version: int) -> dict[str, Any]:
        asked.append(version)
        return {"order": stored["id"]}

    register("order_sent", version=2, upgrade=upgrade)(OrderSent)
    assert decode("order_sent", '{"id": "7"}', **PLACE) == OrderSent(**PLACE, order="7")
    now = OrderSent(**PLACE, order="7")
    assert json.loads(encode(now))["__version"] == 2
    assert again(now) == now
    assert asked == [1]
    newer = decode("order_sent", '{"__version": 3, "number": 7}', **PLACE)
    assert newer == UnknownEntry(**PLACE, kind="order_sent", version=3, data={"number": 7})
    assert again(newer) == newer


@pytest.mark.usefixtures("kinds")
def test_a_kind_has_one_class_and_a_class_that_is_stored_a_kind() -> None:
    with pytest.raises(InvalidValueError, match=r"registered already, by .*[.]RunStarted"):
        register("run_started")(OrderSent)
    with pytest.raises(InvalidValueError, match="A kind is a text"):
        register("")
    with pytest.raises(InvalidValueError, match="A version is a number from 1"):
        register("order_sent", version=0)
    with pytest.raises(InvalidValueError, match="not a subclass"):
        register("order_sent")(Line)
    for entry in (
        OrderSent(**PLACE, order="7"),
        CommittedStep(**PLACE, step_id="1", role=MessageRole.USER),
    ):
        with pytest.raises(InvalidValueError, match="register it, with @register"):
            encode(entry)


def test_a_dictionary_may_stand_for_metrics() -> None:
    entry = AssistantStepCommitted(
        **PLACE,
        step_id="1",
        role=MessageRole.ASSISTANT,
        metrics={"total_tokens": 3},
    )
    read = again(entry)
    assert isinstance(read, AssistantStepCommitted)
    assert read.metrics == StepMetrics(total_tokens=3)
