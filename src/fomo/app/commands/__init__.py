"""One file per verb: its options, and what it prints. Nothing heavy is imported before a verb runs."""
