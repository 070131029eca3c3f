"""The turns of a session of OpenCode, and the sessions of agents that its tool `task` began."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.opencode.library import Family, Item, Library, Session
from curio_persistence.importers.opencode.messages import answer, is_synthetic, is_whole, objective
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.places import Place, member
from curio_persistence.importers.sessions.turns import Conversation, OpenTurn, Starter


class FamilyReader:
    """Reads a session, and then those of its agents."""

    def __init__(self, family: Family, library: Library, context: SessionContext) -> None:
        self._family, self._library, self._context = family, library, context
        self._starters: dict[str, Starter] = {}
        self.is_live = False

    def records(self) -> Iterator[ImportedRecord]:
        """Yield the turns, and then the agents."""
        root = self._family.root
        told = {"project": root.project, "version": root.version, "title": root.title}
        conversation = Conversation(self._context, root.id, told)
        main = _Reading(self._library, root, conversation, self._starters, is_agent=False)
        yield from main.records()
        self.is_live |= main.is_live
        for child in self._family.children:
            self._starters.setdefault(child.id, Starter(None, main.run_at(child.created)))
            reading = _Reading(self._library, child, conversation, self._starters, is_agent=True)
            yield from reading.records()
            self.is_live |= reading.is_live


class _Reading:
    """One reading of a session: an agent's is one run, however often it is asked."""

    def __init__(
        self,
        library: Library,
        session: Session,
        conversation: Conversation,
        starters: dict[str, Starter],
        *,
        is_agent: bool,
    ) -> None:
        self._library, self._session, self._conversation = library, session, conversation
        self._starters, self._is_agent = starters, is_agent
        self._turns: dict[str, OpenTurn] = {}
        """The turns by their prompts, which are answered in any order."""
        self._last: OpenTurn | None = None
        self.is_live = False

    def records(self) -> Iterator[ImportedRecord]:
        place = Place(self._conversation.context, self._session.state.name)
        for message, parts in self._library.messages(self._session):
            place = message.place
            if message.value.get("role") == "user":
                yield from self._asked(message, list(parts))
            else:
                yield from self._answered(message, list(parts))
        last = None if self._last is None else self._last.last_at
        self.is_live |= self._conversation.context.is_live(self._session.state, last)
        for turn in dict.fromkeys(self._turns.values()):
            yield from turn.end(place, is_last=turn is self._last, is_live=self.is_live)

    def run_at(self, created: int) -> str | None:
        """Return the turn that began last before a time in milliseconds."""
        found = None
        for turn in self._turns.values():
            if turn.began is None or turn.began.timestamp() * 1000 <= created:
                found = turn.run_id
        return found

    def _asked(self, message: Item, parts: Sequence[Item]) -> Iterator[ImportedRecord]:
        at = message.place.milliseconds(member(message.value, "time", "created"))
        goes_on = self._is_agent or is_synthetic(parts)
        if self._last is not None and goes_on:
            self._last.saw(at)
        else:
            self._last = self._open(message, objective(parts), at)
        self._turns[message.id] = self._last
        for part in parts:
            if part.value.get("type") == "compaction":
                yield from self._last.event(part.id, "compaction", at, part.value, part.place)

    def _open(self, message: Item, asked: str, at: datetime | None) -> OpenTurn:
        if not self._is_agent:
            return OpenTurn(self._conversation, message.id, at, asked)
        agent, parent = self._starters[self._session.id]
        key = f"agent-{self._session.id}"
        return OpenTurn(self._conversation, key, at, asked, agent=agent, parent=parent)

    def _answered(self, message: Item, parts: Sequence[Item]) -> Iterator[ImportedRecord]:
        context = self._conversation.context
        turn = self._turns.get(str(message.value.get("parentID")), self._last)
        if turn is None:
            context.skip("before the first prompt")
            return
        at = message.place.milliseconds(member(message.value, "time", "created"))
        if not is_whole(message) and context.is_live(self._session.state, at):
            self.is_live = True
            return
        for part in parts:
            child = member(part.value, "state", "metadata", "sessionId")
            if isinstance(child, str):
                agent = member(part.value, "state", "input", "subagent_type")
                self._starters[child] = Starter(agent and str(agent), turn.run_id)
        yield from answer(turn, message, parts, at)
