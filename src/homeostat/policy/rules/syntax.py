"""Changed files still parse: Python, JSON, TOML. A file that cannot be judged is a finding."""

import ast
import json
import tomllib
import warnings
from collections.abc import Iterable

from homeostat.model.change import FileChange, TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.policy.document import PolicyDocument
from homeostat.policy.rules.shape import Rule


def _check_all(change: TreeChange, document: PolicyDocument) -> Iterable[PolicyFinding]:
    found = (_check(item) for item in change.files if item.after is not None)
    return tuple(finding for finding in found if finding is not None)


def _check(item: FileChange) -> PolicyFinding | None:
    assert item.after is not None
    content = item.after.content
    try:
        if item.path.endswith((".py", ".pyi")):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # warnings of a stranger's code are not ours to print
                ast.parse(content, filename=item.path)
        elif item.path.endswith(".json"):
            json.loads(content)
        elif item.path.endswith(".toml"):
            tomllib.loads(content.decode("utf-8"))
    except SyntaxError as error:
        return _finding(item.path, error.lineno, f"does not compile: {error.msg}")
    except json.JSONDecodeError as error:
        return _finding(item.path, error.lineno, f"is not JSON: {error.msg}")
    except (ValueError, RecursionError, MemoryError) as error:
        return _finding(item.path, None, f"cannot be parsed: {type(error).__name__}")
    return None


def _finding(path: str, line: int | None, message: str) -> PolicyFinding:
    return PolicyFinding(
        rule="syntax",
        severity=PolicySeverity.BLOCK,
        path=path,
        line=line,
        message=message,
        remedy="mend the file and propose the change again",
    )


RULE = Rule(id="syntax", summary="Python, JSON and TOML files parse", check=_check_all)
