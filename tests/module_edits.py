"""Random modules and edits of them; nothing here knows the planner's rules."""

import re

from hypothesis import strategies as st
from module_chunks import ANNOTATIONS, CHUNKS, HEADS, NAMED, NEW_CHUNKS, NEW_METHODS


def fill(template, draw, *, n, m):
    text = template.format(n=n, m=m)
    return re.sub(r"\bK\b", lambda _: str(draw(st.integers(0, 6))), text)


@st.composite
def modules(draw):
    """Draw (old source, new source); the new one comes from the old by a few edits and still parses."""
    picks = draw(st.lists(st.sampled_from(CHUNKS), min_size=1, max_size=5))
    head = draw(st.sampled_from(HEADS)) + "import functools\n"
    chunks = [head, *(fill(CHUNKS[0], draw, n=0, m=0), fill(CHUNKS[0], draw, n=1, m=0))]
    chunks += [fill(pick, draw, n=index + 2, m=index % 2) for index, pick in enumerate(picks)]
    edited = list(chunks)
    for _ in range(draw(st.integers(1, 3))):
        edit(edited, draw)
    old, new = "".join(chunks), "".join(edited)
    return old, new


def edit(chunks, draw):
    kind = draw(
        st.sampled_from(
            [
                "number",
                "number",
                "number",
                "line",
                "operator",
                "chunk",
                "named",
                "named",
                "method",
                "order",
                "word",
                "layout",
                "told",
                "told",
                "head",
            ]
        )
    )
    index = draw(st.integers(1, len(chunks) - 1))
    before = chunks[index]
    if kind == "number":
        places = [found.span() for found in re.finditer(r"(?<![\w.])\d+\b", before)]
        if places:
            start, end = draw(st.sampled_from(places))
            chunks[index] = before[:start] + str(draw(st.integers(0, 6))) + before[end:]
    elif kind == "operator":
        places = [found.start() for found in re.finditer(r" [+*-] ", before)]
        if places:
            start = draw(st.sampled_from(places))
            chunks[index] = before[:start] + draw(st.sampled_from([" + ", " - ", " * "])) + before[start + 3 :]
    elif kind == "word":
        pairs = [
            ("return", "yield"),
            ("def ", "async def "),
            (" a", " b"),
            ("step", "start"),
            ("tag", "function"),
            ("count", "start"),
            ("x)", "x, y=1)"),
            ("self.a", "self.b"),
            ("wrapper", "inner"),
            ("K_OF", "K_TO"),
            ("@property", "@staticmethod"),
            ("(x)", "(x, z=2)"),
        ]
        old, new = draw(st.sampled_from(pairs))
        places = [found.start() for found in re.finditer(re.escape(old), before)]
        if places:
            start = draw(st.sampled_from(places))
            chunks[index] = before[:start] + new + before[start + len(old) :]
    elif kind == "told":
        places = [found.span() for found in re.finditer(r'(?<=[:>] )(int|float|None|"\w+")|(?<=""")\w+', before)]
        if places:
            start, end = draw(st.sampled_from(places))
            chunks[index] = before[:start] + draw(st.sampled_from(ANNOTATIONS)) + before[end:]
    elif kind == "head":
        chunks[0] = draw(st.sampled_from(HEADS)) + draw(st.sampled_from(["", "import typing\n"])) + "import functools\n"
    elif kind == "line":
        lines = before.splitlines(keepends=True)
        at = draw(st.integers(0, len(lines) - 1))
        indent = re.match(r" *", lines[at]).group()
        if draw(st.booleans()):
            lines.insert(
                at,
                indent
                + draw(st.sampled_from(["pass", "z = 1", "helper = lambda: 1", "def extra(): return 1", "import math"]))
                + "\n",
            )
        else:
            del lines[at]
        chunks[index] = "".join(lines)
    elif kind == "chunk":
        template = draw(st.sampled_from([*NEW_CHUNKS, *CHUNKS]))
        if draw(st.booleans()):
            chunks.insert(index, fill(template, draw, n=draw(st.integers(7, 9)), m=0))
        elif len(chunks) > 3:
            del chunks[index]
    elif kind == "named":
        chunks.insert(draw(st.integers(1, index)), fill(draw(st.sampled_from(NEW_CHUNKS)), draw, n=7, m=0))
        places = [found.end() for found in re.finditer(r"return ", before)]
        if places:
            start = draw(st.sampled_from(places))
            used = before[:start] + draw(st.sampled_from(NAMED)) + ", " + before[start:]
            chunks[chunks.index(before)] = used
    elif kind == "method":
        places = [found.end() for found in re.finditer(r"class \w+.*:\n", before)]
        if places:
            start = draw(st.sampled_from(places))
            chunks[index] = before[:start] + fill(draw(st.sampled_from(NEW_METHODS)), draw, n=0, m=0) + before[start:]
    elif kind == "order":
        other = draw(st.integers(1, len(chunks) - 1))
        chunks[index], chunks[other] = chunks[other], chunks[index]
    else:
        chunks[index] = draw(st.sampled_from(["# moved\n" + before, "\n\n" + before, before.replace("(a", "( a")]))


@st.composite
def risky_modules(draw):
    """Draw (old source, new source) that differ in what a safe plan leaves to a restart, and maybe in more."""
    mixed = "import functools\nclass Mixed:\n    def mixed(self):\n        return 1\n"
    old, new = (source.replace("import functools\n", mixed, 1) for source in draw(modules()))
    for _ in range(draw(st.integers(1, 2))):
        places = [found for pattern in _RISKS for found in re.finditer(pattern, new, re.MULTILINE)]
        if not places:
            break
        place = draw(st.sampled_from(places))
        new = new[: place.start()] + draw(st.sampled_from(_RISKS[place.re.pattern](place, draw))) + new[place.end() :]
    return old, new


_RISKS = {
    r"^@(deco|factory|keep|functools)\S*$": lambda found, _: [
        "@functools.lru_cache(maxsize=None)",
        f"@functools.wraps(len)\n{found.group()}",
        found.group().replace("(", "(1 + "),
        "@functools.partial(lambda n, f: f, 1)",
    ],
    r"^def plain\d.*": lambda found, _: [
        f"@functools.lru_cache(maxsize=None)\n{found.group()}",
        found.group().replace("(a, ", "(a, c=1, *, "),
        found.group().replace("(a, ", "(b1, a=2, "),
    ],
    r"^(VALUE|RESULT|ITEMS|PICKED|TABLE|ALIAS|BOUND|RATE|STEP|LIMIT)\d = .*": lambda found, _: [
        f"{found.group()}\nMORE{found.group(1)} = plain0({found.group().partition(' =')[0]} == 1)",
        f"{found.group().partition(' =')[0]} = plain0(2)",
        f"{found.group().partition(' =')[0]} = (lambda x: [x, plain1(x)])(3)",
        f"try:\n    {found.group().partition(' =')[0]} = len\nexcept KeyError:\n    pass",
    ],
    r"^class Heir\d\(Base\d\):": lambda found, _: [
        f"{found.group().partition('(')[0]}(ValueError):",
        found.group().replace("):", ", Mixed):"),
    ],
    r"^        return (other \* step|count - 1|\(tag, .*)$": lambda _, draw: [
        f"        return start, {draw(st.integers(0, 3))}",
        "        return function",
    ],
    r"^import functools$": lambda *_: ["import functools\nimport sys\nHERE = sys.platform, plain0(1) if 0 else 2"],
}
"""What a pattern may become."""
