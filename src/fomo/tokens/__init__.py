"""Tokens and masks: equations (4)-(7) of the paper."""
