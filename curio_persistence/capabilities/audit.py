"""The audit log: actions, their actors and resources; and the hash chains that prove it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack

from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.chains import IN_ORDER, Chains
from curio_persistence.capabilities.deletions import acting_as, audit, named_actor
from curio_persistence.capabilities.record_filter import FilterKind
from curio_persistence.capabilities.verifying_chains import TrailReport, Verifier
from curio_persistence.capabilities.windows import TimeLike, before, checked_length
from curio_persistence.clock import Clock
from curio_persistence.errors import ConfigurationError, CorruptDatabaseError, InvalidValueError
from curio_persistence.hash_chain import AUDIT
from curio_persistence.models import AuditEntry
from curio_persistence.redaction import Redaction
from curio_persistence.results.pages import Direction, Page, Stream, open_stream, read_page
from curio_persistence.store.base import HealthCheck, Store
from curio_persistence.store.codecs import encode_time
from curio_persistence.store.filters import Filter, Where
from curio_persistence.tables import AUDIT_LOG, CHAIN_HEADS

_PUBLISHED = (
    "agent_id",
    "run_id",
    "actor_type",
    "actor_id",
    "action",
    "resource",
    "resource_type",
    "metadata",
    "timestamp",
    "prev_hash",
    "hash",
    "created_at",
)
"""The keys of an audit event as a dictionary."""
_ASSIGNED = frozenset({"prev_hash", "hash", "created_at"})
"""The keys whose values are assigned here."""


_ADVICE = "To see all of them: curio-persistence audit --verify"


class AuditFilters(TypedDict, total=False):
    """The filters of the audit log; a line must pass all that are given."""

    action: str | Collection[str] | None
    resource: str | None
    resource_type: str | Collection[str] | None
    actor_id: str | None
    actor_type: str | None
    agent_id: str | None
    run_id: str | Collection[str] | None
    since: TimeLike | None
    until: TimeLike | None


AUDIT_FILTERS = FilterKind(AUDIT_LOG, AuditFilters)


class Audit(Capability):
    """Write and read the audit log, and verify hash chains."""

    def __init__(self, store: Store, clock: Clock, redaction: Redaction) -> None:
        super().__init__(store, clock)
        self._encode = redaction.encoder(AUDIT_LOG)
        self._chains = Chains(store, clock, AUDIT)

    def log(
        self,
        action: str,
        resource: str = "",
        *,
        resource_type: str = "",
        actor_id: str | None = None,
        actor_type: str | None = None,
        agent_id: str | None = None,
        run_id: str | None = None,
        metadata: Any = None,
        timestamp: datetime | None = None,
    ) -> AuditEntry:
        """Add a line to the audit log, and return it.

        Without an actor it is the one of `acting_as`, or the user, machine and process. Inside
        `transaction()` the line is stored if the transaction is, and other transactions that add
        lines wait until it ends.
        """
        kind, name = named_actor()
        now = self._clock.now()
        entry = AuditEntry(
            action,
            resource,
            resource_type,
            actor_type or kind,
            actor_id or name,
            agent_id,
            run_id,
            metadata,
            timestamp or now,
            now,
        )
        row = self._encode(entry)
        row["id"] = self._chains.insert([row])[0]
        return AUDIT_LOG.decode_row(row)

    def acting_as(self, actor_id: str, actor_type: str = "user") -> AbstractContextManager[None]:
        """Name the actor of all lines that are written inside the `with` block.

        A server names the user of a request: `with persistence.audit.acting_as("ada"): …`.
        """
        AUDIT_LOG.encode_value("actor_type", actor_type)
        AUDIT_LOG.encode_value("actor_id", actor_id)
        return acting_as(actor_id, actor_type)

    def log_event(self, event: Mapping[str, Any]) -> AuditEntry:
        """Add a line given as a dictionary; see `Persistence.log_audit_event`."""
        if not isinstance(event, Mapping):
            raise InvalidValueError(
                f"An audit event is a dictionary, not a {type(event).__name__}.", field="event"
            )
        if unknown := sorted(map(repr, event.keys() - set(_PUBLISHED))):
            raise InvalidValueError(
                f"An audit event has no {', '.join(unknown)}: put more into its metadata. "
                f"Its keys are {', '.join(_PUBLISHED)}.",
                field="event",
            )
        given = {k: v for k, v in event.items() if k not in _ASSIGNED and v is not None}
        if "action" not in given:
            raise InvalidValueError("An audit event needs an action.", field="event")
        if isinstance(given.get("timestamp"), str):
            given["timestamp"] = _moment(given["timestamp"])
        return self.log(given.pop("action"), given.pop("resource", ""), **given)

    def events(
        self, run_id: str | None = None, agent_id: str | None = None, limit: int | None = 100
    ) -> list[dict[str, Any]]:
        """Return the newest lines as dictionaries; see `Persistence.get_audit_events`."""
        page = self.query(run_id=run_id, agent_id=agent_id, limit=limit)
        return [_published(entry) for entry in page]

    def query(
        self,
        *,
        order: Direction = "newest",
        limit: int | None = 100,
        cursor: str | None = None,
        **filters: Unpack[AuditFilters],
    ) -> Page[AuditEntry]:
        """Return one page of lines by their time."""
        where = self._where(filters)
        return read_page(self._store, AUDIT_LOG, where, order=order, limit=limit, cursor=cursor)

    def iterate(
        self, *, order: Direction = "newest", snapshot: bool = True, **filters: Unpack[AuditFilters]
    ) -> Stream[AuditEntry]:
        """Iterate over all lines by their time."""
        where = self._where(filters)
        return open_stream(self._store, AUDIT_LOG, where, order=order, snapshot=snapshot)

    def count(self, **filters: Unpack[AuditFilters]) -> int:
        """Return the number of lines that pass the filters."""
        return self._store.count(AUDIT_LOG, self._where(filters))

    def _where(self, filters: AuditFilters) -> Where:
        return AUDIT_FILTERS.of(filters).where(self._clock)

    # --- proof --------------------------------------------------------------------------------

    def verify(self, run_id: str | None = None, *, known_head: str | None = None) -> TrailReport:
        """Verify the chain of a run's events; without a run those of all runs, and the audit log.

        The report names the first link of each chain that was changed, moved or inserted, or is
        missing. Where the persistence has an `audit_key`, the head of each chain must be signed
        with it. Without the key, a program that can write to the database could compute a chain
        anew, or remove its end and its head. `known_head` is the `head` of an earlier report, which
        must still be in the chain.
        """
        if run_id is not None:
            AUDIT_LOG.filter("run_id", "=", run_id)
        return Verifier(self._store, known_head).verify(run_id)

    def check(self, *, deep: bool = False) -> HealthCheck:
        """Return how many chains there are; with `deep`, whether they are whole."""
        if not deep:
            count = self._store.count(CHAIN_HEADS)
            return HealthCheck("chains", "ok", f"{count:,} stored; a deep check verifies them")
        report = self.verify()
        if report.ok:
            said = f"{report.chains:,} stored, none broken; links: {report.links:,}"
            return HealthCheck("chains", "ok", said)
        said = f"{len(report.faults):,} of {report.chains:,} broken; {report.faults[0]}"
        return HealthCheck("chains", "error", said, _ADVICE)

    def sign(self) -> int:
        """Sign the heads of all chains that are whole, and return how many.

        Do this once when a database gets its `audit_key`, and after a program without the key has
        written to it. Raise CorruptDatabaseError, and sign nothing, if a chain is broken.
        """
        if self._store.audit_key is None:
            raise ConfigurationError("Signing needs an audit_key (CURIO_AUDIT_KEY).")
        verifier = Verifier(self._store)
        _refuse_broken(verifier.verify(), ("unsigned", "forged"))
        signed = sum(
            Chains(self._store, self._clock, kind).sign(name, head)
            for (kind, name), head in verifier.heads.items()
        )
        with self._store.transaction():
            audit(self._store, self._clock, "sign", "", "chains", chains=signed)
        return signed

    def expire(self, older_than: timedelta | str) -> int:
        """Delete the lines up to the last one that is so old, and return how many.

        The rest verifies on: the hash of the last line that was deleted is kept. Raise
        CorruptDatabaseError, and delete nothing, if the log is broken.
        """
        age = checked_length("older_than", older_than)
        with self._store.transaction():
            self._chains.lock()
            cutoff = encode_time(before(self._clock.now(), age))
            kept = self._store.select(
                AUDIT_LOG, (Filter("timestamp", ">=", cutoff),), order=IN_ORDER, limit=1
            )[AUDIT_LOG.names.index("chain_position")]
            last = kept[0] - 1 if kept else 2**63 - 2
            _refuse_broken(Verifier(self._store).verify_log(), ("unsigned",))
            deleted = self._chains.cut(AUDIT, last)
            if deleted:
                about = {"lines": deleted, "before": cutoff}
                audit(self._store, self._clock, "expire", "", "audit log", None, **about)
        return deleted


def _refuse_broken(report: TrailReport, allowed: Collection[str]) -> None:
    for fault in report.faults:
        if fault.problem not in allowed:
            raise CorruptDatabaseError(f"Nothing was changed, since a chain is broken: {fault}.")


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidValueError(
            f"timestamp is a datetime or ISO 8601 text, not {text!r}.", field="timestamp"
        ) from error


def _published(entry: AuditEntry) -> dict[str, Any]:
    fields = entry.to_dict()
    return {**{name: fields[name] for name in _PUBLISHED}, "metadata": entry.get_metadata_dict()}
