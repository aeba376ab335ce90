"""Reading settings: defaults, then ``homeostat.toml``, then the environment. The later one wins.

Every value knows its origin. An unknown key, a wrong type or a value out of range is an error that
names the line (or the variable); nothing is guessed. One exception is the source document's: an
invalid ``AETHERRA_HMR_MODE`` is said and read as ``safe``. What becomes of the source documents'
variables is `homeostat.model.documented`. The profile decides what the defaults are.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, assert_never, get_type_hints
from urllib.parse import urlsplit

from homeostat.core.errors import InvalidInput
from homeostat.model.documented import DOCUMENTED, Honoured, Loosens, NothingReadsIt, TellsWhere, Tightens, is_no
from homeostat.model.settings import (
    AUTO_RELOAD_IN,
    PROFILE_DEFAULTS,
    HmrMode,
    Profile,
    PrometheusQuery,
    Settings,
    table_names,
)

FILE_NAME = "homeostat.toml"

_MAX_FILE_BYTES = 1 << 20
_MAX_SHOWN_CHARS = 60
_MAX_QUERIES = 10
_MAX_FOR_S = 3600

_DOCUMENTED_KEYS: Mapping[str, str] = {
    "self_improvement.hmr_enabled": "hmr.enabled",
    "self_improvement.hmr_mode": "hmr.mode",
}
"""Where the source document has a setting in another table (its ``config.json.self_improvement``)."""

_NOT_SETTINGS = (
    "HOMEOSTAT_STATE_DIR",
    "HOMEOSTAT_HUB_URL",
    "HOMEOSTAT_TOKEN",
    "HOMEOSTAT_TEST_DATA",
    "HOMEOSTAT_AGENT_",
    "HOMEOSTAT_PROBE_",
)
"""Beginnings of variables of ours that say where to find things; they are no settings of the hub."""

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One setting's value and where it comes from."""

    name: str
    value: Any
    source: str
    """``default``, ``profile NAME``, ``homeostat.toml:LINE`` or the name of a variable."""

    doc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSettings:
    settings: Settings
    origins: tuple[Origin, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Raw:
    """A value as it was written."""

    value: Any
    source: str
    is_text: bool = False
    """From a variable: numbers, words and lists are all written as text there, and only there."""


def load_settings(repository: Path, environment: Mapping[str, str]) -> LoadedSettings:
    """Read the settings of one repository. `InvalidInput` (``bad-setting``) names file and line."""
    path = repository / FILE_NAME
    values: dict[str, _Raw] = {}
    warnings: list[str] = []
    if path.exists() or path.is_symlink():
        values |= _read_file(path)
    values |= _read_environment(environment, warnings)
    return _build(values, tuple(warnings))


def _read_file(path: Path) -> dict[str, _Raw]:
    text = _text_of(path)
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also for a number that is too long to be read
        told = str(error).replace("at end of document", f"at line {len(text.splitlines())}, the end of the file")
        raise InvalidInput("bad-setting", f"{path.name}: {told}") from error
    lines = _lines_of_keys(text)

    def where(name: str) -> str:
        return f"{path.name}:{lines.get(name, lines.get(name.partition('.')[0], 1))}"

    values: dict[str, _Raw] = {}
    for table, content in document.items():
        if isinstance(content, list) and table in table_names():
            raise InvalidInput("bad-setting", f"{where(table)}: [{table}] is one table: write it with single brackets")
        if not isinstance(content, dict):
            values[table] = _Raw(value=content, source=where(table))
            continue
        if table not in table_names():
            hint = "tables: " + ", ".join(table_names())
            raise InvalidInput("bad-setting", f"{where(table)}: there is no table [{_name(table)}]", hint=hint)
        for key, value in content.items():
            name = f"{table}.{key}"
            meant = _DOCUMENTED_KEYS.get(name, name)
            if meant in values:
                raise InvalidInput("bad-setting", f"{where(name)}: `{name}` and `{meant}` are the same setting")
            values[meant] = _Raw(value=value, source=where(name))
    return values


def _text_of(path: Path) -> str:
    try:
        if not path.is_file():
            raise InvalidInput("bad-setting", f"{path.name} is not a file")
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise InvalidInput("bad-setting", f"{path.name} is larger than {_MAX_FILE_BYTES} bytes")
        return data.decode("utf-8-sig").replace("\r\n", "\n")  # some editors put a byte order mark first
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidInput("bad-setting", f"{path.name}:{line}: the file is not UTF-8 text") from error
    except OSError as error:
        raise InvalidInput("bad-setting", f"{path.name} cannot be read: {error.strerror}") from error


_PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]")
_KEY = re.compile(rf"\s*({_DOTTED})\s*=")


def _lines_of_keys(text: str) -> dict[str, int]:
    """Find the line of each table and key. For error messages only: the values come from tomllib."""
    lines: dict[str, int] = {}
    table = ""
    inside_text = False
    for number, line in enumerate(text.splitlines(), start=1):
        if not inside_text:
            if header := _HEADER.match(line):
                table = _plain(header[1])
                lines.setdefault(table, number)
            elif key := _KEY.match(line):
                lines.setdefault(f"{table}.{_plain(key[1])}" if table else _plain(key[1]), number)
        inside_text ^= (line.count('"""') + line.count("'''")) % 2 == 1
    return lines


def _plain(key: str) -> str:
    return re.sub(r"""["'\s]""", "", key)


def _read_environment(environment: Mapping[str, str], warnings: list[str]) -> dict[str, _Raw]:
    known = {f"HOMEOSTAT_{name.replace('.', '_').upper()}": name for name in _names()}
    values = _read_documented(environment, warnings)
    for variable, raw in environment.items():
        if not variable.startswith("HOMEOSTAT_") or variable.startswith(_NOT_SETTINGS):
            continue
        if variable not in known:
            warnings.append(f"{_name(variable)} is no setting; see `homeostat config show`")
            continue
        values[known[variable]] = _Raw(value=raw, source=variable, is_text=True)
    return values


def _read_documented(environment: Mapping[str, str], warnings: list[str]) -> dict[str, _Raw]:
    values: dict[str, _Raw] = {}
    for variable in sorted(name for name in environment if name.startswith("AETHERRA_")):
        raw = environment[variable]
        match DOCUMENTED.get(variable):
            case None:
                warnings.append(f"{_name(variable)} is no setting; see docs/reference/settings.md")
            case Honoured(setting):
                told = _documented_text(variable, raw, warnings)
                if told is not None and setting not in values:  # AETHERRA_PROFILE comes before AETHERRA_QUIET
                    values[setting] = _Raw(value=told, source=variable, is_text=True)
            case TellsWhere():
                pass
            case Tightens(asks, instead, zero_asks_too):
                if not is_no(raw) or (zero_asks_too and raw.strip()):
                    # Going on would allow what this variable forbids.
                    raise InvalidInput(
                        "bad-setting",
                        f"{variable} {asks}, and this version cannot do that",
                        hint=f"unset it: {instead}",
                    )
            case Loosens(instead):
                if not is_no(raw):
                    warnings.append(f"{variable} is not honoured: {instead}")
            case NothingReadsIt(part):
                warnings.append(f"{variable} does nothing: there is no {part} yet")
            case treatment:
                assert_never(treatment)
    return values


def _documented_text(variable: str, raw: str, warnings: list[str]) -> str | None:
    """Return what a documented variable's text means in our words; None when it sets nothing."""
    word = raw.strip().lower()
    if variable == "AETHERRA_QUIET":
        return None if is_no(raw) else Profile.QUIET.value
    if variable == "AETHERRA_PROFILE" and word == "production":
        return Profile.PROD.value
    if variable == "AETHERRA_HMR_MODE" and word not in {"safe", "aggressive", "force"}:
        warnings.append(f"{variable}={_short(raw)} is neither safe nor aggressive: safe is used")
        return HmrMode.SAFE.value
    return raw


def _names() -> list[str]:
    names = ["profile"]
    for table in table_names():
        hints = get_type_hints(Settings)
        names += [f"{table}.{item.name}" for item in fields(hints[table])]
    return names


def _build(values: Mapping[str, _Raw], warnings: tuple[str, ...]) -> LoadedSettings:
    settings = Settings()
    unknown = sorted(set(values) - set(_names()))
    if unknown:
        source = values[unknown[0]].source
        table = unknown[0].partition(".")[0]
        near = ", ".join(name for name in _names() if name.startswith(f"{table}.")) or "profile"
        raise InvalidInput(
            "bad-setting", f"{source}: there is no setting `{_name(unknown[0])}`", hint=f"settings: {near}"
        )
    origins: list[Origin] = []
    hints = get_type_hints(Settings)
    profile_field = next(item for item in fields(Settings) if item.name == "profile")
    value, source = _value("profile", Profile, (Profile.STANDARD, "default"), profile_field.metadata, values)
    settings = replace(settings, profile=value)
    of_profile = {name: (wanted, f"profile {value.value}") for name, wanted in PROFILE_DEFAULTS[value].items()}
    origins.append(Origin(name="profile", value=value, source=source, doc=profile_field.metadata["doc"]))
    for table in table_names():
        changed: dict[str, Any] = {}
        default_table = getattr(settings, table)
        for item in fields(hints[table]):
            name = f"{table}.{item.name}"
            kind = get_type_hints(hints[table])[item.name]
            fallback = of_profile.get(name, (getattr(default_table, item.name), "default"))
            value, source = _value(name, kind, fallback, item.metadata, values)
            changed[item.name] = value
            origins.append(Origin(name=name, value=value, source=source, doc=item.metadata["doc"]))
        settings = replace(settings, **{table: replace(default_table, **changed)})
    if settings.detectors.prometheus and not settings.detectors.prometheus_url:
        source = values["detectors.prometheus"].source
        raise InvalidInput("bad-setting", f"{source}: `detectors.prometheus` needs `detectors.prometheus_url`")
    _check_mode(settings, values)
    _check_auto_reload(settings, values)
    return LoadedSettings(settings=settings, origins=tuple(origins), warnings=warnings)


def _check_mode(settings: Settings, values: Mapping[str, _Raw]) -> None:
    if settings.profile is Profile.PROD and settings.hmr.mode is HmrMode.AGGRESSIVE:
        raise InvalidInput(
            "bad-setting",
            f"{values['hmr.mode'].source}: `hmr.mode` is aggressive, which takes risks, and this is the profile prod",
            hint='leave it at "safe", or set another profile: what a safe plan refuses goes live by a restart',
        )


def _check_auto_reload(settings: Settings, values: Mapping[str, _Raw]) -> None:
    if not settings.hmr.auto_reload:
        return
    source = values["hmr.auto_reload"].source
    if settings.profile not in AUTO_RELOAD_IN:
        raise InvalidInput(
            "bad-setting",
            f"{source}: `hmr.auto_reload` is for the profiles dev and test, and this is {settings.profile.value}",
            hint='hand the change in (`homeostat propose --diff FILE`), or set profile = "dev" where you develop',
        )
    if not settings.hmr.enabled:
        raise InvalidInput("bad-setting", f"{source}: `hmr.auto_reload` needs `hmr.enabled`")


def _value(
    name: str, kind: Any, fallback: tuple[Any, str], metadata: Mapping[str, Any], values: Mapping[str, _Raw]
) -> tuple[Any, str]:
    if name not in values:
        return fallback
    raw, source = values[name], values[name].source
    try:
        value = _of_text(raw.value.strip(), kind) if raw.is_text else _of_toml(raw.value, kind)
    except ValueError as error:
        raise InvalidInput("bad-setting", f"{source}: `{name}` {error}") from error
    low, high = metadata["low"], metadata["high"]
    for number in value if kind == tuple[int, ...] else (value,):
        if (low is not None and number < low) or (high is not None and number > high):
            raise InvalidInput(
                "bad-setting", f"{source}: `{name}` is {_short(number)}; it must be from {low} to {high}"
            )
    if kind == tuple[int, ...] and list(value) != sorted(set(value)):
        raise InvalidInput("bad-setting", f"{source}: `{name}` is {_short(list(value))}; each must be above the last")
    if name == "hub.bind" and value not in ("127.0.0.1", "::1", "localhost"):
        raise InvalidInput("bad-setting", f"{source}: `hub.bind` must be a loopback address, not {_short(value)}")
    if name == "detectors.prometheus_url" and value and not _is_address(value):
        raise InvalidInput("bad-setting", f"{source}: `{name}` must be an address as http://127.0.0.1:9090")
    if name == "self_improvement.require_approval" and not value:
        raise InvalidInput("bad-setting", f"{source}: `{name}` cannot be false: nothing goes live that nobody approved")
    return value, source


def _of_text(raw: str, kind: Any) -> Any:
    """Read a variable's text as the setting's type; `ValueError` says what is wrong."""
    if kind is bool:
        if raw.lower() not in _TRUE | _FALSE:
            raise ValueError(f"must be true or false, not {_short(raw)}")
        return raw.lower() in _TRUE
    if kind in (int, float):
        try:
            return _finite(kind(raw))
        except (ValueError, OverflowError) as error:
            what = "a whole number" if kind is int else "a finite number"
            raise ValueError(f"must be {what}, not {_short(raw)}") from error
    if kind == tuple[str, ...]:
        return tuple(raw.split())
    if kind == tuple[int, ...]:
        return tuple(_of_text(word, int) for word in raw.replace(",", " ").split())
    if kind == tuple[PrometheusQuery, ...]:
        raise ValueError(f"can be set in {FILE_NAME} only, as [[detectors.prometheus]]")
    return _of_toml(raw, kind)


def _of_toml(raw: Any, kind: Any) -> Any:
    """Take a TOML value as the setting's type; `ValueError` says what is wrong."""
    if kind is bool:
        if not isinstance(raw, bool):
            raise ValueError(f"must be true or false, not {_short(raw)}")
        return raw
    if kind is int:
        if isinstance(raw, bool) or not isinstance(raw, int):
            raise ValueError(f"must be a whole number, not {_short(raw)}")
        return raw
    if kind is float:
        if isinstance(raw, bool) or not isinstance(raw, int | float):
            raise ValueError(f"must be a number, not {_short(raw)}")
        try:
            return _finite(float(raw))
        except OverflowError as error:
            raise ValueError("must be a finite number") from error
    if kind == tuple[str, ...]:
        if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
            raise ValueError(f'must be a list of texts, as in ["a", "b"], not {_short(raw)}')
        return tuple(_printable(item) for item in raw)
    if kind == tuple[int, ...]:
        if not isinstance(raw, list):
            raise ValueError(f"must be a list of whole numbers, as in [10, 50], not {_short(raw)}")
        return tuple(_of_toml(item, int) for item in raw)
    if kind == tuple[PrometheusQuery, ...]:
        return _queries(raw)
    if not isinstance(raw, str):
        raise ValueError(f"must be text, not {_short(raw)}")
    return _printable(raw) if kind is str else _word(raw, kind)


def _queries(raw: Any) -> tuple[PrometheusQuery, ...]:
    if not isinstance(raw, list) or not all(isinstance(item, dict) for item in raw):
        raise ValueError("is a list of tables: write each as [[detectors.prometheus]]")
    if len(raw) > _MAX_QUERIES:
        raise ValueError(f"has {len(raw)} queries; at most {_MAX_QUERIES} are asked")
    found = tuple(map(_query, raw))
    if len({query.name for query in found}) < len(found):
        raise ValueError("has two queries of one name")
    return found


def _query(raw: dict[str, Any]) -> PrometheusQuery:
    kinds = get_type_hints(PrometheusQuery)
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in kinds:
            raise ValueError(f"has no `{_name(key)}`; a query has {', '.join(kinds)}")
        kind = float if kinds[key] == float | None else kinds[key]
        try:
            values[key] = _of_toml(value, kind)
        except ValueError as error:
            raise ValueError(f"has a `{key}` that {error}") from error
    if not values.get("name") or not values.get("query") or not ({"above", "below"} & set(values)):
        raise ValueError("needs of each query `name`, `query`, and `above` or `below`")
    if not 0 <= values.get("for_s", 0.0) <= _MAX_FOR_S:
        raise ValueError(f"has a `for_s` that must be from 0 to {_MAX_FOR_S}")
    return PrometheusQuery(**values)


def _is_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


def _printable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a null character")
    return text


def _word(raw: str, kind: type[StrEnum]) -> StrEnum:
    word = raw.lower()
    if kind is HmrMode and word == "force":
        return HmrMode.AGGRESSIVE
    try:
        return kind(word)
    except ValueError as error:
        raise ValueError(f"must be one of {', '.join(kind)}, not {_short(raw)}") from error


def _short(value: Any) -> str:
    """Show a value in a message: on one line, and cut."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN_CHARS else text[: _MAX_SHOWN_CHARS - 4] + " ..."


def _name(key: str) -> str:
    """Show a key or variable in a message: as it is, when it looks like one."""
    return key if re.fullmatch(r"[\w.-]{1,60}", key) else _short(key)
