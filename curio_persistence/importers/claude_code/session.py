"""Read one session: its turns, and the agents that they started."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from curio_persistence.importers.claude_code.agent_files import (
    agent_of,
    told_beside,
    type_of,
)
from curio_persistence.importers.claude_code.chain import SOURCE_NAME, Chain
from curio_persistence.importers.claude_code.entries import (
    INTERRUPTED,
    STATE,
    TITLES,
    Entry,
    blocks_of,
    command_in,
    is_command,
    is_injected,
    key_of,
    message_of,
    said_in,
)
from curio_persistence.importers.claude_code.units import SessionFiles, times_in
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.places import Place, an_object
from curio_persistence.importers.sessions.records import Found, stable_id
from curio_persistence.importers.sessions.turns import Conversation
from curio_persistence.models import AgentRunStatus

_ENVELOPE = frozenset(
    {
        *("uuid", "parentUuid", "logicalParentUuid", "isSidechain", "userType", "cwd", "type"),
        *("sessionId", "version", "gitBranch", "slug", "timestamp", "isMeta", "subtype", "level"),
    }
)


class SessionReader:
    """Reads the transcript of a session, and then those of its agents.

    Of what it has read it keeps ids, and the beginning and the end of each turn.
    """

    def __init__(self, unit: SessionFiles, context: SessionContext) -> None:
        self.context = context
        self.settled = True
        self.answers: set[str] = set()
        """The ids of the answers in all of its files: an agent's file may repeat some."""
        self.callers: dict[str, str] = {}
        """The run of each call of a tool."""
        self.parents: dict[str, str] = {}
        """The run that started an agent, where the transcript names it."""
        self._unit = unit
        self._file: SessionFile | None = None
        self._turns: list[Chain] = []
        self._agents: list[Chain] = []
        self._inline: dict[str, Chain] = {}
        """Agents inside the transcript, by their ids, and by the ids of their entries."""
        self._turn_of: dict[str, int] = {}
        self._facts: dict[str, Any] = {}
        self._title: str | None = None
        self._preamble = 0
        self._command: tuple[Entry, str, datetime | None, Place] | None = None
        self._own_files = {agent_of(file.path) for file in unit.agents}

    def records(self) -> Found:
        """Yield the events and calls, and at the end the runs."""
        if self._unit.main is not None:
            yield from self._read_main(self._unit.main)
        for file in self._unit.agents:
            if self._is_ahead(file):
                self.settled = False
            else:
                yield from self._read_agent(file)
        starts = [chain.began for chain in self._turns if chain.began]
        for chain in (*self._turns, *self._agents):
            if not chain.copied:
                chain.turn.metadata["title"] = self._title
                if chain in self._agents and chain.turn.parent_run_id is None:
                    chain.turn.parent_run_id = self._turn_at(chain.began, starts)
                yield from chain.run(chain.place)

    def _is_ahead(self, agent: SessionFile) -> bool:
        """Return whether an agent began after the last entry of a transcript that still grows.

        It may repeat answers that the transcript does not have yet, and waits for them.
        """
        main = self._unit.main
        if main is None or self.context.is_still(main):
            return False
        (first, _), (_, last) = times_in(agent.path), times_in(main.path)
        return first > last

    def is_live(self, last: datetime | None) -> bool:
        return self._file is not None and self.context.is_live(self._file, last)

    def _turn_at(self, at: datetime | None, starts: list[datetime]) -> str | None:
        """Return the turn that was going on at a time."""
        dated = [chain for chain in self._turns if chain.began]
        if at is None or not dated:
            return None
        return dated[max(0, bisect_right(starts, at) - 1)].run_id

    # --- the transcript ------------------------------------------------------------------------

    def _read_main(self, file: SessionFile) -> Iterator[ImportedRecord]:
        self._file = file
        for line, entry in self.context.lines(file):
            yield from self._entry(entry, Place(self.context, file.name, line))
        still = self.context.is_still(file)
        if self._turns:
            yield from self._turns[-1].close(last=True, still=still)
        for chain in dict.fromkeys(self._inline.values()):
            yield from chain.close(last=True, still=still)

    def _entry(self, entry: Entry, place: Place) -> Iterator[ImportedRecord]:
        kind = entry.get("type")
        if not isinstance(kind, str):
            place.problem("has no type")
        elif kind in TITLES:
            title = entry.get(TITLES[kind])
            self._title = title if isinstance(title, str) and title else self._title
        elif kind in STATE:
            self.context.skip("state lines")
        elif kind == "progress":
            yield from self._progress(entry, place)
        elif kind == "attachment" and self._turns:
            yield from self._attachment(self._turns[-1], entry, place)
        elif kind in ("user", "assistant", "system"):
            yield from self._conversation(kind, entry, place)
        else:
            self.context.skip(f"unknown: {kind[:80]}")
        if self._turns and self._turns[-1].copied and "uuid" in entry:
            self.context.skip("copied entry")
        self._note(entry)

    def _note(self, entry: Entry) -> None:
        """Note which turn an entry belongs to."""
        uuid = entry.get("uuid")
        if isinstance(uuid, str):
            self._turn_of[uuid] = len(self._turns) - 1
            self._preamble += not self._turns

    def _conversation(self, kind: str, entry: Entry, place: Place) -> Iterator[ImportedRecord]:
        at = place.time(entry.get("timestamp"))
        self._learn(entry)
        if entry.get("isSidechain"):
            chain = self._sidechain(entry, at, place)
            yield from self._agent_entry(chain, kind, entry, at, place)
        elif kind == "user":
            yield from self._user(entry, at, place)
        elif kind == "assistant":
            yield from self._assistant(entry, at, place)
        elif self._turns:
            yield from self._system(self._turns[-1], entry, at, place)
        else:
            self.context.skip("before the first turn")

    def _learn(self, entry: Entry) -> None:
        for name, key in (("project", "cwd"), ("branch", "gitBranch"), ("version", "version")):
            value = entry.get(key)
            if isinstance(value, str) and value:
                self._facts[name] = value

    def _user(self, entry: Entry, at: datetime | None, place: Place) -> Iterator[ImportedRecord]:
        text = said_in(entry)
        current = self._turns[-1] if self._turns else None
        if _has_results(entry) and current is not None:
            yield from current.resulted(entry, at)
        if text.startswith(INTERRUPTED):
            if current is not None:
                yield from current.interrupt(key_of(entry, place), at, place, text)
        elif _has_results(entry):
            pass
        elif is_injected(entry, text):
            self.context.skip("injected context")
        elif is_command(text):
            self._command = (entry, command_in(text), at, place)
        else:
            self._command = None
            yield from self._begin(entry, text, at, place)

    def _assistant(
        self, entry: Entry, at: datetime | None, place: Place
    ) -> Iterator[ImportedRecord]:
        is_call = message_of(entry).get("model") != "<synthetic>"
        if self._command is not None and is_call:
            command, self._command = self._command, None
            yield from self._begin(*command)
        elif not self._turns:
            yield from self._begin(entry, "", at, place)
        yield from self._turns[-1].answered_by(entry, at, place)

    def _system(
        self, chain: Chain, entry: Entry, at: datetime | None, place: Place
    ) -> Iterator[ImportedRecord]:
        kind = str(entry.get("subtype") or "system")
        data = {name: value for name, value in entry.items() if name not in _ENVELOPE}
        level = entry.get("level")
        level = level if level in ("warning", "error") else "info"
        kind = "compaction" if kind == "compact_boundary" else kind
        yield from chain.event(key_of(entry, place), kind, at, data or None, place, level=level)

    def _attachment(self, chain: Chain, entry: Entry, place: Place) -> Iterator[ImportedRecord]:
        """Take what the user said while the turn was going on; other attachments are state."""
        attached = an_object(entry.get("attachment"))
        prompt = attached.get("prompt")
        if not isinstance(prompt, str) or attached.get("type") != "queued_command":
            self.context.skip("state lines")
            return
        at = place.time(entry.get("timestamp"))
        yield from chain.event(key_of(entry, place), "user_message", at, {"text": prompt}, place)

    # --- turns ---------------------------------------------------------------------------------

    def _begin(
        self, entry: Entry, text: str, at: datetime | None, place: Place
    ) -> Iterator[ImportedRecord]:
        """End the turn before, and begin one with a prompt."""
        if self._turns:
            yield from self._turns[-1].close(last=False, still=True)
        self._rewind(entry)
        session_id, key = str(entry.get("sessionId") or self._unit.session_id), key_of(entry, place)
        chain = self._chain(session_id, key, SOURCE_NAME, key, at, place)
        chain.describe(text)
        if not self._turns and chain.copied:
            self.context.skip("copied entry", self._preamble)
        self._turns.append(chain)
        yield from chain.event(key, "run_started", at, None, place)

    def _chain(
        self,
        session_id: str,
        key: str,
        agent: str,
        first: str,
        at: datetime | None,
        place: Place,
    ) -> Chain:
        """Return a turn or an agent, whose `first` entry tells whether it is a copy."""
        run_id = stable_id(SOURCE_NAME, session_id, key)
        owner = self.context.owner(stable_id(SOURCE_NAME, first), run_id)
        if copied := owner != run_id:
            session_id = owner.split("/")[1]
        # The ids of its entries are those of no other session.
        conversation = Conversation(self.context, session_id, self._facts, scope=())
        return Chain(self, conversation, owner, agent, at, place, copied=copied)

    def _rewind(self, entry: Entry) -> None:
        """Mark the turns after the one that a prompt goes on from as taken back."""
        parent = entry.get("parentUuid")
        at = self._turn_of.get(parent) if isinstance(parent, str) else None
        if at is not None:
            for chain in self._turns[at + 1 :]:
                chain.cancel()
                chain.turn.status = AgentRunStatus.CANCELLED.value

    # --- agents --------------------------------------------------------------------------------

    def _progress(self, entry: Entry, place: Place) -> Iterator[ImportedRecord]:
        data = an_object(entry.get("data"))
        agent, inner = data.get("agentId"), data.get("message")
        if not isinstance(agent, str) or not isinstance(inner, dict):
            self.context.skip("progress")
            return
        caller = self.callers.get(str(entry.get("parentToolUseID")))
        if caller is not None:
            self.parents.setdefault(agent, caller)
        if self._turns and self._turns[-1].copied:
            return
        if agent in self._own_files:
            self.context.skip("agent_progress repeated")
            return
        kind = inner.get("type")
        if kind in ("user", "assistant"):
            at = place.time(inner.get("timestamp"))
            chain = self._inline.get(agent)
            if chain is None:
                chain = self._agent(f"agent-{agent}", "agent", key_of(inner, place), at, place)
                self._inline[agent] = chain
                chain.turn.parent_run_id = caller
            yield from self._agent_entry(chain, kind, inner, at, place)

    def _sidechain(self, entry: Entry, at: datetime | None, place: Place) -> Chain:
        """Return the agent inside the transcript that an entry belongs to."""
        parent, uuid = entry.get("parentUuid"), key_of(entry, place)
        chain = self._inline.get(parent) if isinstance(parent, str) else None
        if chain is None:
            chain = self._agent(f"sidechain-{uuid}", "agent", uuid, at, place)
            if self._turns:
                chain.turn.parent_run_id = self._turns[-1].run_id
        self._inline[uuid] = chain
        return chain

    def _agent(
        self, key: str, agent_id: str, first: str, at: datetime | None, place: Place
    ) -> Chain:
        chain = self._chain(self._unit.session_id, key, agent_id, first, at, place)
        self._agents.append(chain)
        return chain

    def _agent_entry(
        self,
        chain: Chain,
        kind: str,
        entry: Entry,
        at: datetime | None,
        place: Place,
    ) -> Iterator[ImportedRecord]:
        if kind == "assistant":
            yield from chain.answered_by(entry, at, place)
            return
        if kind == "system":
            yield from self._system(chain, entry, at, place)
            return
        text, key = said_in(entry), key_of(entry, place)
        if _has_results(entry):
            yield from chain.resulted(entry, at)
        elif text.startswith(INTERRUPTED):
            yield from chain.interrupt(key, at, place, text)
        elif not chain.turn.objective:
            chain.describe(text)
            yield from chain.event(key, "run_started", at, None, place)
        elif text and not is_injected(entry, text):
            yield from chain.event(key, "user_message", at, {"text": text}, place)

    def _read_agent(self, file: SessionFile) -> Iterator[ImportedRecord]:
        self._file, agent = file, agent_of(file.path)
        meta = told_beside(file.path)
        chain: Chain | None = None
        for line, entry in self.context.lines(file):
            place, kind = Place(self.context, file.name, line), str(entry.get("type"))
            if kind not in ("user", "assistant", "system"):
                self.context.skip("state lines" if kind in STATE else f"unknown: {kind[:80]}")
                continue
            at = place.time(entry.get("timestamp"))
            self._learn(entry)
            if chain is None:
                kind_of, first = type_of(agent, meta), key_of(entry, place)
                chain = self._agent(f"agent-{agent}", kind_of, first, at, place)
                chain.turn.parent_run_id = self._parent(agent, meta)
            yield from self._agent_entry(chain, kind, entry, at, place)
        if chain is not None:
            yield from chain.close(last=True, still=self.context.is_still(file))

    def _parent(self, agent: str, meta: Entry) -> str | None:
        called = self.callers.get(str(meta.get("toolUseId")))
        return called or self.parents.get(agent)


def _has_results(entry: Entry) -> bool:
    return any(block.get("type") == "tool_result" for block in blocks_of(entry))
