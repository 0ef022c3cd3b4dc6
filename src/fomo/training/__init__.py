"""One training loop, driven by recipes."""
