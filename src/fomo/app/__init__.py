"""One verb per use: each a plain function (service) and a command (cli)."""
