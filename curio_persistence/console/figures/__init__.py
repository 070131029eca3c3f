"""Numbers and charts that several pages show: endings of runs, costs, model and tool calls."""
