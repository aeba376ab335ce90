"""docs/reference/settings.md says of every setting exactly what the code says."""

from dataclasses import fields
from typing import get_type_hints

from arch.source import ROOT

from homeostat.model.documented import DOCUMENTED, Honoured, Loosens, NothingReadsIt, TellsWhere, Tightens
from homeostat.model.settings import PROFILE_DEFAULTS, Settings, table_names

PAGE = ROOT / "docs" / "reference" / "settings.md"

HEAD = """# Settings

Defaults, then `homeostat.toml` in the repository, then the environment; the later one wins. `homeostat config show` names
the origin of each value. A setting `[table] key` is also read from `HOMEOSTAT_TABLE_KEY`. Lists in a variable are
separated by spaces. `HOMEOSTAT_STATE_DIR`, `HOMEOSTAT_HUB_URL` and `HOMEOSTAT_TOKEN` tell the command line where to go.

An unknown key, a wrong type or a value out of range is an error that names the line.

| setting | default | range | meaning |
| --- | --- | --- | --- |
"""  # noqa: E501 - the page's own lines


PROFILES = """
## Profiles

`profile` (or `AETHERRA_PROFILE`; `AETHERRA_QUIET=1` is `quiet`) sets the defaults of other settings; what the file or a variable says wins. No profile
loosens proof, consent or the watch itself; in `prod` nobody approves their own proposal, and `homeostat doctor` fails
when a program runs under the hub's uid.

| profile | sets |
| --- | --- |
"""  # noqa: E501

VARIABLES = """
## Variables of the source documents

What this version cannot do and would protect you is refused, so that nobody believes it is on; the rest is said.

| variable | here |
| --- | --- |
"""


def _shown(value):
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "empty"
    return str(value).lower() if isinstance(value, bool) else str(value) or "empty"


def _row(name, item):
    shown = _shown(item.default)
    low, high = item.metadata["low"], item.metadata["high"]
    bounds = f"{low} to {high}" if low is not None else ""
    return f"| `{name}` | {shown} | {bounds} | {item.metadata['doc']} |\n"


def rendered():
    rows = [_row("profile", next(item for item in fields(Settings) if item.name == "profile"))]
    hints = get_type_hints(Settings)
    for table in table_names():
        rows += [_row(f"{table}.{item.name}", item) for item in fields(hints[table])]
    return HEAD + "".join(rows) + _profiles() + _variables()


def _profiles():
    rows = []
    for profile, sets in PROFILE_DEFAULTS.items():
        words = (
            ", ".join(f"`{name}` = {_shown(value)}" for name, value in sets.items()) or "nothing: the defaults above"
        )
        rows.append(f"| `{profile.value}` | {words} |\n")
    return PROFILES + "".join(rows)


def _variables():
    groups = {}
    for name, what in DOCUMENTED.items():
        groups.setdefault(_treatment(what), []).append(f"`{name}`")
    return VARIABLES + "".join(f"| {', '.join(names)} | {what} |\n" for what, names in groups.items())


def _treatment(what):
    match what:
        case Honoured(setting):
            return f"sets `{setting}`"
        case TellsWhere(variable):
            return f"as `{variable}`, which wins"
        case Tightens(asks, _, zero_asks_too):
            return f"refused{'' if zero_asks_too else ' unless 0'}: it {asks}"
        case Loosens(instead):
            return f"not honoured: {instead}"
        case NothingReadsIt(part):
            return f"nothing reads it: there is no {part} yet"


def test_no_profile_sets_what_is_no_setting_or_out_of_its_range():
    hints = get_type_hints(Settings)
    known = {f"{table}.{item.name}": item for table in table_names() for item in fields(hints[table])}
    for sets in PROFILE_DEFAULTS.values():
        for name, value in sets.items():
            low, high = known[name].metadata["low"], known[name].metadata["high"]
            values = value if isinstance(value, tuple) else (value,)
            assert low is None or all(low <= one <= high for one in values)
            assert type(value) is type(known[name].default)


def test_the_page_is_what_the_code_says():
    assert PAGE.read_text(encoding="utf-8") == rendered()
