"""Every decision stands in the index of decisions, under its own title and in one form."""

from arch.source import ROOT

ADR = ROOT / "docs" / "adr"


def test_every_decision_stands_in_the_index_with_its_title():
    expected = []
    for path in sorted(ADR.glob("[0-9]*.md")):
        number, title = path.name[:4], path.read_text(encoding="utf-8").splitlines()[0]
        assert title.startswith(f"# {number}: "), f"{path.name} begins with '# {number}: TITLE'"
        expected.append(f"- [{number}]({path.name}) {title[8:]}")
    listed = [line for line in (ADR / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("- [")]
    assert expected and listed == expected, "docs/adr/README.md lists every decision by number and title"
