"""Words as people write them: taken apart, made alike, asked for and shown."""
