"""Text of others inside our Markdown: shown as it was meant, able to do nothing.

What is defended against: a line that becomes a heading, a rule, a quote or a fence; emphasis that
looks like one of our fields; HTML and comments that hide what follows; links and images; characters
that turn the direction of reading or cannot be seen.
"""

import re
import unicodedata

_SPECIAL = re.compile(r"[\\`*_<>\[\]|&~]")
_WORD_INSIDE = re.compile(r"(?<=[^\W_])_(?=[^\W_])")
_BLOCK_START = re.compile(r"^([#=+>-]|[0-9]{1,9}[.)])")
_LIST_ITEM = re.compile(r"^(- |[0-9]{1,3}[.)] )(?=[^\s-])")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_BREAKS = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


def inline(text: str) -> str:
    """Return text as one line in which nothing is markup, for a place behind other text of ours."""
    return _escape(_one_line(text))


def item(text: str) -> str:
    """Return text as one line in which nothing is markup, for the beginning of a line or list item."""
    return _start(_one_line(text))


def block(text: str) -> str:
    """Return text as paragraphs and plain list items in which nothing else is markup.

    Indentation at the start of a line is dropped, so that nothing becomes a code block by it.
    """
    lines = [_line(_visible(line)) for line in _BREAKS.split(text)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def fenced(text: str, language: str) -> str:
    """Return text, byte for byte, in a fence that nothing in it can close."""
    fence = "`" * max(3, _longest_run(text) + 1)
    end = "" if text.endswith("\n") or not text else "\n"
    return f"{fence}{language}\n{text}{end}{fence}"


def code_span(text: str) -> str:
    """Return one line as a code span that nothing in it can end."""
    line = _one_line(text)
    ticks = "`" * (_longest_run(line) + 1)
    pad = " " if "`" in line else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"


def _one_line(text: str) -> str:
    return " ".join(_visible(" ".join(_BREAKS.split(text))).split())


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)


def _line(line: str) -> str:
    stripped = line.strip()
    item = _LIST_ITEM.match(stripped)
    if item:
        return item.group(1) + _start(stripped[item.end() :])
    return _start(stripped)


def _start(text: str) -> str:
    found = _BLOCK_START.match(text)
    if not found or found.group(1) == ">":  # the latter becomes an entity below
        return _escape(text)
    marker = found.group(1)
    # A marker is one of # = + -, or digits with a dot or bracket; the backslash goes before its sign.
    return f"{marker[:-1]}\\{marker[-1]}" + _escape(text[found.end() :])


def _escape(text: str) -> str:
    # An underscore inside a word is never markup; leaving it alone keeps names readable.
    kept = {found.start() for found in _WORD_INSIDE.finditer(text)}
    return _SPECIAL.sub(
        lambda found: found.group() if found.start() in kept else _ENTITIES.get(found.group(), "\\" + found.group()),
        text,
    )


def _visible(text: str) -> str:
    """Replace controls and invisible formatting (terminal escapes, direction marks) by their code."""
    return "".join(f"U+{ord(char):04X}" if _is_hidden(char) else char for char in text)


def _is_hidden(char: str) -> bool:
    return char not in "\t " and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co")
