"""What is measured: each case yields some lines of the table."""

from benchmarks.cases import (
    awaited,
    batches,
    buffering,
    columns,
    command_line,
    importing,
    metrics,
    payloads,
    questions,
    reading,
    redaction,
    search,
    single,
    starting,
    statistics,
    streams,
    threads,
    transfers,
    upgrading,
)
from benchmarks.cases.sides import Case

THEMES: dict[str, dict[str, Case]] = {
    "One record at a time": single.CASES,
    "Batches": batches.CASES,
    "Threads": threads.CASES,
    "Write-behind": buffering.CASES,
    "Awaited": awaited.CASES,
    "Redaction": redaction.CASES,
    "Reading": reading.CASES,
    "Payloads": payloads.CASES,
    "Search": search.CASES,
    "Streams": streams.CASES,
    "Columns": columns.CASES,
    "Importing": importing.CASES,
    "Upgrading": upgrading.CASES,
    "Transfers": transfers.CASES,
    "Statistics": statistics.CASES,
    "Metrics": metrics.CASES,
    "Questions": questions.CASES,
    "The command line": command_line.CASES,
    "Starting": starting.CASES,
}
CASES: dict[str, Case] = {name: case for cases in THEMES.values() for name, case in cases.items()}
