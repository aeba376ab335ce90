"""What the settings say of functions of the repository: whether there are any of these names."""

import ast
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from homeostat.cli.source_files import parse, python_files


def unmatched_declarations(repository: Path, pure: Sequence[str]) -> list[str]:
    """Return warnings of entries of `canary.pure` that mean no function of the work tree."""
    if not pure:
        return []
    from homeostat.rollout.shadow import qualnames_in, unmatched

    places = [item.partition(":")[0] for item in pure]
    names: list[str] = []
    for file in python_files(repository):
        path = file.relative_to(repository).as_posix()
        if any(fnmatchcase(path, place) for place in places):
            names += [f"{path}:{name}" for name in qualnames_in(parse(file) or ast.Module([], []))]
    return [f"canary.pure: {item!r} matches no function of the repository" for item in unmatched(pure, names)]
