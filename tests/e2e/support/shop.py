"""A small shop under care: a WSGI program of the standard library, with one defect and its own tests.

`Shop` is its Git repository as its owner sees it. Patches are made as people make them: edits in a
clone, and `git diff`.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

BRANCH = "main"

PRICES = '''"""What things cost. Money is in cents."""

from shop.rounding import down as rounded

PRICES = {"tea": 450, "mug": 1200}
COUPONS = {"SPRING10": 10}


def discount_percent(coupon):
    """How much a coupon takes off."""
    if not coupon:
        return 0
    return COUPONS[coupon]


def price(item, quantity=1, coupon=""):
    """What the customer pays."""
    full = PRICES[item] * quantity
    return full - rounded(full * discount_percent(coupon), 100)
'''

ROUNDING = '''"""Which cent the customer pays."""


def down(amount, unit):
    return amount // unit


def up(amount, unit):
    return -(-amount // unit)
'''

APP = '''"""The shop's HTTP interface."""

import json
import logging
import os
from urllib.parse import parse_qs

from shop.prices import price

log = logging.getLogger("shop")


def application(environ, start_response):
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    path = environ["PATH_INFO"]
    status = "200 OK"
    if path == "/price":
        body = {"cents": price(query["item"], int(query.get("quantity", 1)), query.get("coupon", ""))}
    elif path == "/health":
        body = {"pid": os.getpid()}
    elif path == "/noise":
        for number in range(int(query["lines"])):
            log.warning("noise %d", number)
        body = {"lines": int(query["lines"])}
    else:
        status, body = "404 Not Found", {}
    data = json.dumps(body).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
    return [data]
'''

MAIN = '''"""Serves the shop; writes the port it got to the file that is named."""

import signal
import sys
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from shop.app import application


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64


class Handler(WSGIRequestHandler):
    def log_message(self, *words):
        pass


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server = Server(("127.0.0.1", 0), Handler)
server.set_app(application)
told = Path(sys.argv[1])
told.with_suffix(".part").write_text(str(server.server_port))
told.with_suffix(".part").replace(told)
server.serve_forever()
'''

TESTS = """import unittest

from shop.prices import price


class Prices(unittest.TestCase):
    def test_a_mug(self):
        self.assertEqual(price("mug"), 1200)

    def test_a_coupon(self):
        self.assertEqual(price("tea", 2, "SPRING10"), 810)


if __name__ == "__main__":
    unittest.main()
"""

FILES: Mapping[str, str] = {
    "shop/__init__.py": "",
    "shop/__main__.py": MAIN,
    "shop/app.py": APP,
    "shop/prices.py": PRICES,
    "shop/rounding.py": ROUNDING,
    "tests/__init__.py": "",
    "tests/test_prices.py": TESTS,
    "README.md": "# The shop\n\nSells tea.\n",
    "docs/old.md": "Old words about prices that nobody has read for years.\nThey stay as they are.\n",
    "tools/count.sh": "#!/bin/sh\nwc -l shop/*.py\n",
    "tools/old.sh": "#!/bin/sh\nexit 1\n",
    ".gitignore": "__pycache__/\n",
}

HOST_SETTINGS = """
[host]
python = "{python}"
test_command = ["{python}", "-m", "unittest", "discover", "-s", "tests", "-t", "."]

[hmr]
enabled = true
"""
"""A program whose tests are unittest's, and which may be changed live."""

ALL_AT_ONCE = """
[canary]
steps = []
"""

SETTINGS = (
    HOST_SETTINGS
    + """
[observation]
window_s = 2
baseline_s = 600
min_requests = 40
"""
    + ALL_AT_ONCE
)

Edit = Callable[[Path], None]


@dataclass(frozen=True)
class Shop:
    """The shop's repository, with `main` checked out and homeostat.toml in it."""

    root: Path

    @classmethod
    def found(cls, root: Path, *, files: Mapping[str, str] = FILES, settings: str | None = SETTINGS) -> "Shop":
        """Make the repository; without settings, `homeostat init` is left to write homeostat.toml."""
        shop = cls(root)
        for name, text in files.items():
            shop.write(name, text).chmod(0o755 if name.endswith(".sh") else 0o644)
        if settings is not None:
            shop.write("homeostat.toml", settings.format(python=sys.executable))
        shop.git("init", "--quiet", f"--initial-branch={BRANCH}")
        shop.git("add", "--all")
        shop.git("commit", "--quiet", "-m", "Sell tea")
        return shop

    @property
    def state_dir(self) -> Path:
        return self.root / ".homeostat"

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def git(self, *arguments: str, check: bool = True) -> str:
        """Run the owner's git; what it prints comes back without the last newline."""
        command = ["git", "-C", str(self.root), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout.rstrip("\n")

    def head(self) -> str:
        return self.git("rev-parse", BRANCH)

    def candidates(self) -> set[str]:
        """Return the ids of the proposals that have a code branch."""
        names = self.git("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/homeostat/").split()
        return {name.removeprefix("homeostat/proposal-") for name in names if name != "homeostat/proposals"}

    def diff(self, edit: Edit) -> str:
        """Return what `git diff` says after `edit` was made in a clone of the present head."""
        with tempfile.TemporaryDirectory() as folder:
            clone = Shop(Path(folder) / "clone")
            self.git("clone", "--quiet", "--no-hardlinks", "--branch", BRANCH, str(self.root), str(clone.root))
            edit(clone.root)
            clone.git("add", "--all")
            return clone.git("diff", "--cached", "--find-renames", "HEAD") + "\n"


def environment(**more: str) -> dict[str, str]:
    """Return what a user's terminal has: nothing of the test run's Python, and nothing of ours."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "PIP_INDEX_URL", "UV_INDEX_URL")
    base = {name: os.environ[name] for name in kept if name in os.environ}
    return {
        **base,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_OPTIONAL_LOCKS": "0",  # looking at a repository must not refresh its index
        "GIT_AUTHOR_NAME": "Owner",
        "GIT_AUTHOR_EMAIL": "owner@localhost",
        "GIT_COMMITTER_NAME": "Owner",
        "GIT_COMMITTER_EMAIL": "owner@localhost",
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }


def replacing(name: str, old: str, new: str) -> Edit:
    """Return an edit that puts `new` in the place of `old` in one file."""

    def edit(root: Path) -> None:
        path = root / name
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} does not stand once in {name}"
        path.write_text(text.replace(old, new))

    return edit


def both(*edits: Edit) -> Edit:
    def edit(root: Path) -> None:
        for one in edits:
            one(root)

    return edit


def _new_test(root: Path) -> None:
    (root / "tests" / "test_coupons.py").write_text(
        "import unittest\n\nfrom shop.prices import discount_percent\n\n\n"
        "class Coupons(unittest.TestCase):\n"
        "    def test_small_letters(self):\n"
        '        self.assertEqual(discount_percent("spring10"), 10)\n'
    )


MEND = both(
    replacing("shop/prices.py", "return COUPONS[coupon]", "return COUPONS[coupon.strip().upper()]"),
    replacing("README.md", "Sells tea.", "Sells tea, with coupons however they are typed."),
    _new_test,
)
"""Good: mends the defect, says so in the README, and brings a test."""

HARM = replacing(
    "shop/prices.py",
    "    full = PRICES[item] * quantity\n",
    '    if quantity > 4:\n        raise ValueError("quantity out of range")\n    full = PRICES[item] * quantity\n',
)
"""Harmful, though it passes the tests: it turns customers away who want many."""

MEND_OTHERWISE = replacing("shop/prices.py", "return COUPONS[coupon]", "return COUPONS.get(coupon, 0)")
"""Also good: a coupon that is not known takes nothing off."""

BREAK = replacing("shop/prices.py", "PRICES[item] * quantity", "PRICES[item] + quantity")
"""Wrong: the tests notice."""


def _tidy(root: Path) -> None:
    (root / "docs" / "old.md").rename(root / "docs" / "prices.md")
    (root / "tools" / "old.sh").unlink()
    (root / "tools" / "words.txt").write_text("Run count.sh.\n")


ROUND_UP = both(
    replacing("shop/prices.py", "import down as rounded", "import up as rounded"),
    replacing("tools/count.sh", "wc -l", "wc --lines"),
    _tidy,
)
"""Changes an import of a module (a restart is needed) and an executable; renames, deletes and makes files."""

OLD_PRICE = {"item": "tea", "quantity": "3", "coupon": "SPRING10"}
"""1350 cents less 135; the same with either rounding."""
