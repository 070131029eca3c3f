"""Code that the importers share: files, limits, the report, and the writer."""
