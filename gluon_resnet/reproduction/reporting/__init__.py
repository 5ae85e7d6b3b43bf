"""The report of a study: its figures, beside what the paper prints."""
