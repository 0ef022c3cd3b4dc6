"""Configuration: frozen, strict, and one schema for file, command line and checkpoint."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class Config(BaseModel):
    """A frozen record of finite numbers. A key that it does not know is an error, so a misspelling cannot pass."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ConfigError(ValueError):
    """A recipe that cannot be used; the message names the file, the key and what is wrong."""


SomeConfig = TypeVar("SomeConfig", bound=Config)


def load_toml(path: str | Path, schema: type[SomeConfig]) -> SomeConfig:
    """A recipe from a TOML file, checked against its schema. Raises `ConfigError`."""
    path = Path(path)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no recipe {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    return parse(raw, schema, str(path))


def parse(raw: object, schema: type[SomeConfig], where: str) -> SomeConfig:
    """A record from plain data; `where` names its origin in the error. Raises `ConfigError`."""
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            key = ".".join(str(part) for part in fault["loc"]) or "(top)"
            if fault["type"] == "extra_forbidden":
                faults.append(f"{key}: no such key (misspelt?)")
            else:
                faults.append(f"{key}: {fault['msg']}")
        raise ConfigError(f"{where}: " + "; ".join(faults)) from None
