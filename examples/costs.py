"""The costs of a month: computed when calls were written, and again by the prices of a contract."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from curio_persistence import AgentLLMUsage, SQLitePersistence

BEGIN = datetime(2026, 11, 1, 9, tzinfo=UTC)
CALLS = (
    ("openai", "gpt-4o", 4_000, 300),
    ("anthropic", "claude-sonnet-4-5", 9_000, 700),
    ("acme", "acme-1", 2_000, 200),
)
CONTRACT = [
    {"model": "gpt-4o*", "provider": "openai", "since": "2026-11-15", "input": 2, "output": 8},
    {"model": "acme-*", "input": "0.10", "output": "0.40"},
]


def record(persistence: SQLitePersistence) -> None:
    """Store the calls of 30 days, without their costs."""
    for day in range(30):
        for provider, model, tokens_in, tokens_out in CALLS:
            persistence.log_llm_usage(
                AgentLLMUsage(
                    "writer",
                    None,
                    provider=provider,
                    model=model,
                    input_tokens=tokens_in,
                    output_tokens=tokens_out,
                    created_at=BEGIN + timedelta(days=day),
                )
            )


def main() -> None:
    with SQLitePersistence("costs.db") as persistence:
        record(persistence)
        for group in persistence.usage.totals(group_by="model"):
            cost = "unknown" if group.cost_usd is None else f"${group.cost_usd}"
            print(f"{group.model}: {group.calls} calls, {cost}")
        for each in persistence.prices.unpriced():
            print(f"{each.calls} calls of {each.model} have no cost: {each.reason}")

    with SQLitePersistence("costs.db", prices=CONTRACT) as persistence:
        planned = persistence.prices.reprice()
        print(f"the contract changes {planned.changed} costs")
        persistence.prices.reprice(dry_run=False)
        total = persistence.usage.totals()[0]
        print(f"${planned.before_usd} becomes ${total.cost_usd}; {total.unpriced} are unknown")


if __name__ == "__main__":
    main()
