"""Numbers and charts that several pages show: how runs ended, what they cost, what they called."""
