"""The scoreboard: every forecaster on every column under one protocol, trained and scored once, and resumed."""
