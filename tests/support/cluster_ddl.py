"""The tables of a cluster, as they follow from those of one server.

`python -m tests.support.cluster_ddl` writes `schema/clickhouse/cluster/` anew.
"""

from __future__ import annotations

import re
from pathlib import Path

PLAIN = Path(__file__).parents[2] / "schema" / "clickhouse"
CLUSTER = PLAIN / "cluster"
_STATEMENT = re.compile(
    r"CREATE TABLE IF NOT EXISTS (?P<name>\w+) \((?P<columns>.*?)\n\) "
    r"ENGINE = (?P<engine>\w+)(?:\((?P<values>[^)]*)\))?\n(?P<rest>.*?);\n",
    re.DOTALL,
)
_ON = "ON CLUSTER '{cluster}'"
_EVERYWHERE = ("schema_migrations", "replica_sources", "replica_sync")
"""Tables that every server has whole."""


def files() -> dict[str, str]:
    """Return the text of each file of a cluster."""
    return {
        path.name: _STATEMENT.sub(_of_cluster, path.read_text(encoding="utf-8"))
        for path in sorted(PLAIN.glob("*.sql"))
    }


def _of_cluster(match: re.Match[str]) -> str:
    name = match["name"]
    is_everywhere = name in _EVERYWHERE
    place = "all" if is_everywhere else "{shard}"
    path = f"'/clickhouse/tables/{place}/{{database}}/{{table}}', '{{replica}}'"
    values = f"{path}, {match['values']}" if match["values"] else path
    rest = match["rest"].replace("non_replicated_dedup", "replicated_dedup")
    local = name if is_everywhere else f"{name}_local"
    made = (
        f"CREATE TABLE IF NOT EXISTS {local} {_ON} ({match['columns']}\n) "
        f"ENGINE = Replicated{match['engine']}({values})\n{rest};\n"
    )
    return made if is_everywhere else made + _distributed(name, match["columns"])


def _distributed(name: str, columns: str) -> str:
    return (
        f"\nCREATE TABLE IF NOT EXISTS {name} {_ON} AS {name}_local\n"
        f"ENGINE = Distributed('{{cluster}}', currentDatabase(), {name}_local, "
        f"{_shard(columns)});\n"
    )


def _shard(columns: str) -> str:
    """Return the key by which rows are distributed: all versions of a row go to one shard."""
    kinds = dict(re.findall(r"^    (\w+) +(\S+)", columns, re.MULTILINE))
    for column in ("trace_id", "run_id"):
        if column == "trace_id" and "span_id" not in kinds:
            continue
        if column in kinds and not (column == "trace_id" and "Nullable" in kinds[column]):
            value = f"ifNull({column}, '')" if "Nullable" in kinds[column] else column
            return f"cityHash64(source_name, {value})"
    return "cityHash64(source_name)"


if __name__ == "__main__":
    CLUSTER.mkdir(exist_ok=True)
    for name, text in files().items():
        (CLUSTER / name).write_text(text, encoding="utf-8")
