"""docs/reference/settings.md says of every setting exactly what the code says."""

from dataclasses import fields
from typing import get_type_hints

from arch.source import ROOT

from homeostat.model.settings import Settings, table_names

PAGE = ROOT / "docs" / "reference" / "settings.md"

HEAD = """# Settings

Defaults, then `homeostat.toml` in the repository, then the environment; the later one wins. `homeostat config show` names
the origin of each value. A setting `[table] key` is also read from `HOMEOSTAT_TABLE_KEY`. Of the source documents'
variables, `AETHERRA_PROFILE`, `AETHERRA_HMR_ENABLED` and `AETHERRA_HMR_MODE` are honoured. Lists in a variable are
separated by spaces. `HOMEOSTAT_STATE_DIR`, `HOMEOSTAT_HUB_URL` and `HOMEOSTAT_TOKEN` tell the command line where to go.

An unknown key, a wrong type or a value out of range is an error that names the line.

| setting | default | range | meaning |
| --- | --- | --- | --- |
"""  # noqa: E501 - the page's own lines


def _row(name, item):
    default = item.default
    shown = "empty" if default in ("", ()) else str(default).lower() if isinstance(default, bool) else str(default)
    low, high = item.metadata["low"], item.metadata["high"]
    bounds = f"{low} to {high}" if low is not None else ""
    return f"| `{name}` | {shown} | {bounds} | {item.metadata['doc']} |\n"


def rendered():
    rows = [_row("profile", next(item for item in fields(Settings) if item.name == "profile"))]
    hints = get_type_hints(Settings)
    for table in table_names():
        rows += [_row(f"{table}.{item.name}", item) for item in fields(hints[table])]
    return HEAD + "".join(rows)


def test_the_page_is_what_the_code_says():
    assert PAGE.read_text(encoding="utf-8") == rendered()
