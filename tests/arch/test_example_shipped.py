"""The example service travels inside the package, as links to the one copy in examples/."""

from arch.source import ROOT

EXAMPLE = ROOT / "examples" / "orders"
SHIPPED = ROOT / "src" / "homeostat" / "cli" / "demo" / "orders"


def _files(folder):
    return {
        path.relative_to(folder): path
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_every_file_of_the_example_is_shipped_and_is_the_same_file():
    example, shipped = _files(EXAMPLE), _files(SHIPPED)
    assert set(example) == set(shipped)
    assert [name for name, path in shipped.items() if path.resolve() != example[name]] == []
