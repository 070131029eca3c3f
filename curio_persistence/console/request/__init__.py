"""What a request asks for: its filters and its window of time, its records, and who reads."""
