"""What the exports of observability tools have in common: steps of traces, and their records."""
