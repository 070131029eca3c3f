"""Turn steps of traces, from exports of observability tools, into records."""
