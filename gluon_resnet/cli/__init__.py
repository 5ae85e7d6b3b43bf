"""Command lines: each module parses, calls the library, and prints."""
