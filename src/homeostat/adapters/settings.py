"""Reading settings: defaults, then ``homeostat.toml``, then the environment. The later one wins.

Every value knows its origin. An unknown key, a wrong type or a value out of range is an error that
names the line (or the variable); nothing is guessed. One exception is the source document's: an
invalid ``AETHERRA_HMR_MODE`` is said and read as ``safe``.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, get_type_hints

from homeostat.core.errors import InvalidInput
from homeostat.model.settings import HmrMode, Profile, Settings, table_names

FILE_NAME = "homeostat.toml"

_DOCUMENTED_VARIABLES: Mapping[str, str] = {
    "AETHERRA_HMR_ENABLED": "hmr.enabled",
    "AETHERRA_HMR_MODE": "hmr.mode",
    "AETHERRA_PROFILE": "profile",
}
_NOT_SETTINGS = frozenset(
    {
        "HOMEOSTAT_STATE_DIR",
        "HOMEOSTAT_HUB_URL",
        "HOMEOSTAT_TOKEN",
        "HOMEOSTAT_TEST_DATA",
        "HOMEOSTAT_AGENT_LAUNCH",
        "HOMEOSTAT_AGENT_PID",
    }
)
"""Variables of ours that say where to find things; they are no settings of the hub."""

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One setting's value and where it comes from."""

    name: str
    value: Any
    source: str
    """``default``, ``homeostat.toml:LINE`` or the name of a variable."""

    doc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSettings:
    settings: Settings
    origins: tuple[Origin, ...]
    warnings: tuple[str, ...]


def load_settings(repository: Path, environment: Mapping[str, str]) -> LoadedSettings:
    """Read the settings of one repository. `InvalidInput` (``bad-setting``) names file and line."""
    path = repository / FILE_NAME
    values: dict[str, tuple[Any, str]] = {}
    warnings: list[str] = []
    if path.exists():
        values |= _read_file(path)
    values |= _read_environment(environment, warnings)
    return _build(values, tuple(warnings))


def _read_file(path: Path) -> dict[str, tuple[Any, str]]:
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput("bad-setting", f"{path.name}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput("bad-setting", f"{path.name} cannot be read: {error}") from error
    lines = _lines_of_keys(text)
    values: dict[str, tuple[Any, str]] = {}
    for table, content in document.items():
        if not isinstance(content, dict):
            values[table] = (content, f"{path.name}:{lines.get(table, 1)}")
            continue
        if table not in table_names():
            where = f"{path.name}:{lines.get(table, 1)}"
            raise InvalidInput(
                "bad-setting", f"{where}: there is no table [{table}]", hint="tables: " + ", ".join(table_names())
            )
        for key, value in content.items():
            name = f"{table}.{key}"
            values[name] = (value, f"{path.name}:{lines.get(name, lines.get(table, 1))}")
    return values


def _lines_of_keys(text: str) -> dict[str, int]:
    """Find the line of each table and key. For error messages only: the values come from tomllib."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\s*([\w.-]+)\s*\]", line)
        if header:
            table = header[1]
            lines.setdefault(table, number)
            continue
        key = re.match(r"\s*([\w-]+(?:\.[\w-]+)*)\s*=", line)
        if key:
            lines.setdefault(f"{table}.{key[1]}" if table else key[1], number)
    return lines


def _read_environment(environment: Mapping[str, str], warnings: list[str]) -> dict[str, tuple[Any, str]]:
    known = {f"HOMEOSTAT_{name.replace('.', '_').upper()}": name for name in _names()}
    values: dict[str, tuple[Any, str]] = {}
    for variable, name in _DOCUMENTED_VARIABLES.items():
        raw = environment.get(variable)
        if raw is None:
            continue
        if name == "hmr.mode" and raw.strip().lower() not in {"safe", "aggressive", "force"}:
            warnings.append(f"{variable}={raw[:40]!r} is neither safe nor aggressive: safe is used")
            raw = "safe"
        if name == "profile" and raw.strip().lower() == "production":
            raw = "prod"
        values[name] = (raw.strip(), variable)
    for variable, raw in environment.items():
        if not variable.startswith("HOMEOSTAT_") or variable in _NOT_SETTINGS:
            continue
        if variable not in known:
            warnings.append(f"{variable} is no setting; see `homeostat config show`")
            continue
        values[known[variable]] = (raw, variable)
    return values


def _names() -> list[str]:
    names = ["profile"]
    for table in table_names():
        hints = get_type_hints(Settings)
        names += [f"{table}.{item.name}" for item in fields(hints[table])]
    return names


def _build(values: Mapping[str, tuple[Any, str]], warnings: tuple[str, ...]) -> LoadedSettings:
    settings = Settings()
    unknown = sorted(set(values) - set(_names()))
    if unknown:
        source = values[unknown[0]][1]
        table = unknown[0].partition(".")[0]
        near = ", ".join(name for name in _names() if name.startswith(f"{table}.")) or "profile"
        raise InvalidInput("bad-setting", f"{source}: there is no setting `{unknown[0]}`", hint=f"settings: {near}")
    origins: list[Origin] = []
    hints = get_type_hints(Settings)
    profile_field = next(item for item in fields(Settings) if item.name == "profile")
    value, source = _value("profile", Profile, Profile.STANDARD, profile_field.metadata, values)
    settings = replace(settings, profile=value)
    origins.append(Origin(name="profile", value=value, source=source, doc=profile_field.metadata["doc"]))
    for table in table_names():
        changed: dict[str, Any] = {}
        default_table = getattr(settings, table)
        for item in fields(hints[table]):
            name = f"{table}.{item.name}"
            kind = get_type_hints(hints[table])[item.name]
            value, source = _value(name, kind, getattr(default_table, item.name), item.metadata, values)
            changed[item.name] = value
            origins.append(Origin(name=name, value=value, source=source, doc=item.metadata["doc"]))
        settings = replace(settings, **{table: replace(default_table, **changed)})
    return LoadedSettings(settings=settings, origins=tuple(origins), warnings=warnings)


def _value(
    name: str, kind: Any, default: Any, metadata: Mapping[str, Any], values: Mapping[str, tuple[Any, str]]
) -> tuple[Any, str]:
    if name not in values:
        return default, "default"
    raw, source = values[name]
    try:
        value = _convert(raw, kind)
    except ValueError as error:
        raise InvalidInput("bad-setting", f"{source}: `{name}` {error}") from error
    low, high = metadata["low"], metadata["high"]
    if (low is not None and value < low) or (high is not None and value > high):
        raise InvalidInput("bad-setting", f"{source}: `{name}` is {value}; it must be from {low} to {high}")
    if name == "hub.bind" and value not in ("127.0.0.1", "::1", "localhost"):
        raise InvalidInput("bad-setting", f"{source}: `hub.bind` must be a loopback address, not {value!r}")
    return value, source


def _convert(raw: Any, kind: Any) -> Any:
    """Turn a TOML value, or the text of a variable, into the setting's type; `ValueError` says what is wrong."""
    if kind is bool:
        if isinstance(raw, str) and raw.lower() in _TRUE | _FALSE:
            return raw.lower() in _TRUE
        if not isinstance(raw, bool):
            raise ValueError(f"must be true or false, not {raw!r}")
        return raw
    if kind in (int, float):
        return _number(raw, kind)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _word(raw, kind)
    if kind is str:
        if not isinstance(raw, str):
            raise ValueError(f"must be text, not {raw!r}")
        return raw
    items = raw.split() if isinstance(raw, str) else raw
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"must be a list of texts, not {raw!r}")
    return tuple(items)


def _number(raw: Any, kind: type[int] | type[float]) -> int | float:
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise ValueError(f"must be a number, not {raw!r}")
    try:
        number = kind(raw)
    except ValueError as error:
        raise ValueError(f"must be a number, not {raw!r}") from error
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError("must be a finite number")
    if kind is int and isinstance(raw, float) and raw != number:
        raise ValueError(f"must be a whole number, not {raw!r}")
    return number


def _word(raw: Any, kind: type[StrEnum]) -> StrEnum:
    word = raw.lower() if isinstance(raw, str) else raw
    if kind is HmrMode and word == "force":
        return HmrMode.AGGRESSIVE
    try:
        return kind(word)
    except ValueError as error:
        raise ValueError(f"must be one of {', '.join(kind)}, not {raw!r}") from error
