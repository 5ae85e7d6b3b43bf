"""The report of a study: what its figures say, beside what the paper prints."""
