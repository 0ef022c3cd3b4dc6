"""One file per form of counter files; `read_counts` tells them apart."""
