"""The program of the soak: a FastAPI service whose one function is proposed anew again and again."""

from pathlib import Path

from e2e.support.shop import HOST_SETTINGS, Edit

PRICES_PATH = "shop_api/prices.py"

_PRICES = '''"""What things cost. Money is in cents."""

ROUND = {round_to}
PRICES = {{"tea": 450, "mug": 1200}}
COUPONS = {{"SPRING10": 10}}


def number():
    """Which version this is."""
    return {number}


def price(item, quantity=1, coupon=""):
    """What the customer pays."""
{guard}    full = PRICES[item] {operator} quantity
    return full - full * COUPONS.get(coupon, 0) // 100
'''

_APP = '''"""The HTTP interface."""

import os

from fastapi import FastAPI

from shop_api import prices

app = FastAPI()


@app.get("/price")
def price(item: str, quantity: int = 1, coupon: str = ""):
    return {"cents": prices.price(item, quantity, coupon)}


@app.get("/number")
def number():
    return {"number": prices.number(), "round": prices.ROUND, "pid": os.getpid()}
'''

_TESTS = """import unittest

from shop_api.prices import price


class Prices(unittest.TestCase):
    def test_two_mugs(self):
        self.assertEqual(price("mug", 2), 2400)

    def test_a_coupon(self):
        self.assertEqual(price("tea", 2, "SPRING10"), 810)
"""

SETTINGS = (
    HOST_SETTINGS
    + """
[observation]
window_s = 6
baseline_s = 30
min_requests = 60

[canary]
step_s = 2
lease_s = 10
max_s = 8
"""
)


def prices(number: int, *, kind: str = "good", round_to: int = 1) -> str:
    """Return the source of one version. ``harmful`` turns large orders away; ``wrong`` is seen by the tests."""
    guard = ""
    if kind == "harmful":
        guard = f'    if quantity > 4:\n        raise ValueError("quantity out of range ({number})")\n'
    return _PRICES.format(number=number, round_to=round_to, guard=guard, operator="+" if kind == "wrong" else "*")


FILES = {
    "shop_api/__init__.py": "",
    "shop_api/app.py": _APP,
    PRICES_PATH: prices(0),
    "tests/__init__.py": "",
    "tests/test_prices.py": _TESTS,
    "README.md": "# The shop's API\n",
    ".gitignore": "__pycache__/\n",
}


def writing(text: str) -> Edit:
    """Return the edit that writes a whole version of the prices."""

    def edit(root: Path) -> None:
        (root / PRICES_PATH).write_text(text)

    return edit
