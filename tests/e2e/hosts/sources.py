"""The files of the hosts: one shop, with one defect, behind every framework, and its own tests in every style.

`GET /price?item=&coupon=` raises for a coupon in small letters; `GET /pid` says which process answered.
Programs without HTTP write what they got into `out/<pid>`, again and again.
"""

PRICES = '''"""What things cost. Money is in cents."""

PRICES = {"tea": 450, "mug": 1200}
COUPONS = {"SPRING10": 10}


def discount_percent(coupon):
    """How much a coupon takes off."""
    if not coupon:
        return 0
    return COUPONS[coupon]


def price(item, coupon=""):
    """What the customer pays."""
    return PRICES[item] * (100 - discount_percent(coupon)) // 100
'''

DEFECT = "return COUPONS[coupon]"
MENDED = "return COUPONS[coupon.upper()]"
FAILS_AT = PRICES[: PRICES.index(DEFECT)].count("\n") + 1

FASTAPI = """import os
import time

from fastapi import FastAPI

from shop.prices import price

app = FastAPI()


@app.get("/price")
def show_price(item: str, coupon: str = ""):
    return {"cents": price(item, coupon), "pid": os.getpid()}


@app.get("/pid")
def pid():
    time.sleep(0.02)
    return {"pid": os.getpid()}
"""

STARLETTE = """import asyncio
import os

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from shop.prices import price


async def show_price(request):
    query = request.query_params
    return JSONResponse({"cents": price(query["item"], query.get("coupon", "")), "pid": os.getpid()})


async def pid(request):
    await asyncio.sleep(0.02)
    return JSONResponse({"pid": os.getpid()})


app = Starlette(routes=[Route("/price", show_price), Route("/pid", pid)])
"""

FLASK = """import os
import time

from flask import Flask, request

from shop.prices import price

app = Flask(__name__)


@app.get("/price")
def show_price():
    return {"cents": price(request.args["item"], request.args.get("coupon", "")), "pid": os.getpid()}


@app.get("/pid")
def pid():
    time.sleep(0.02)
    return {"pid": os.getpid()}
"""

FLASK_FACTORY = (
    FLASK.replace("app = Flask(__name__)\n", "def create_app():\n    app = Flask(__name__)\n")
    .replace(
        '\n\n@app.get("/price")\ndef show_price():\n    return',
        '    app.add_url_rule("/price", view_func=show_price)\n'
        '    app.add_url_rule("/pid", view_func=pid)\n    return app\n\n\ndef show_price():\n    return',
    )
    .replace('@app.get("/pid")\n', "")
)

AIOHTTP = """import asyncio
import os

from aiohttp import web

from shop.prices import price


async def show_price(request):
    query = request.query
    return web.json_response({"cents": price(query["item"], query.get("coupon", "")), "pid": os.getpid()})


async def pid(request):
    await asyncio.sleep(0.02)
    return web.json_response({"pid": os.getpid()})


def make_app(argv=None):
    app = web.Application()
    app.add_routes([web.get("/price", show_price), web.get("/pid", pid)])
    return app


def main():
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ["PORT"]), print=None)
"""

RUN_MAIN = "from shop.app import main\n\nmain()\n"

MANAGE = """import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""

DJANGO_SETTINGS = """DEBUG = False
ALLOWED_HOSTS = ["*"]
SECRET_KEY = "only for a test of this program"
ROOT_URLCONF = "shop.views"
WSGI_APPLICATION = "site_wsgi.application"
INSTALLED_APPS = ["django.contrib.staticfiles", "shop"]
STATIC_URL = "static/"
DATABASES = {}
USE_TZ = True
"""

DJANGO_WSGI = """import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
application = get_wsgi_application()
"""

DJANGO_VIEWS = """import os
import time

from django.http import JsonResponse
from django.urls import path

from shop.prices import price


def show_price(request):
    query = request.GET
    return JsonResponse({"cents": price(query["item"], query.get("coupon", "")), "pid": os.getpid()})


def pid(request):
    time.sleep(0.02)
    return JsonResponse({"pid": os.getpid()})


urlpatterns = [path("price", show_price), path("pid", pid)]
"""

DJANGO_TESTS = """from django.test import SimpleTestCase

from shop.prices import price


class Prices(SimpleTestCase):
    def test_a_coupon(self):
        self.assertEqual(price("tea", "SPRING10"), 405)

    def test_over_http(self):
        self.assertEqual(self.client.get("/price", {"item": "tea"}).json()["cents"], 450)
"""

LOOP = '''"""Prices one order after the other, and says what became of each."""

import logging
import os
import time
from pathlib import Path

from shop.prices import price

log = logging.getLogger("shop.work")


def work_one(count):
    try:
        said = str(price("tea", "spring10"))
    except KeyError:
        log.exception("order %d could not be priced", count)
        said = "KeyError"
    out = Path("out", str(os.getpid()))
    out.with_suffix(".part").write_text(f"{count} {said}")
    out.with_suffix(".part").replace(out)
    time.sleep(0.05)


def work(*_):
    count = 0
    while not Path("stop").exists():
        count += 1
        work_one(count)
'''

WORKER = """from shop.loop import work

if __name__ == "__main__":
    work()
"""

WORKERS = '''"""A worker of every kind, and this process, which works too."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

from shop.loop import work

if __name__ == "__main__":
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    for method in ("fork", "spawn", "forkserver"):
        multiprocessing.get_context(method).Process(target=work, daemon=True).start()
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    pool.submit(work)
    work()
    pool.shutdown()
    os.waitpid(child, 0)
'''

PYTEST = """from shop.prices import price


def test_a_coupon():
    assert price("tea", "SPRING10") == 405


def test_no_coupon():
    assert price("mug") == 1200
"""

UNITTEST = """import unittest

from shop.prices import price


class Prices(unittest.TestCase):
    def test_a_coupon(self):
        self.assertEqual(price("tea", "SPRING10"), 405)

    def test_no_coupon(self):
        self.assertEqual(price("mug"), 1200)
"""

CUSTOM = '''"""Checks the shop, in its own way."""

import sys

from shop.prices import price

sys.exit(0 if (price("tea", "SPRING10"), price("mug")) == (405, 1200) else 1)
'''

START_SH = """#!/bin/sh
set -e
PYTHONPATH=lib:$PYTHONPATH
export PYTHONPATH
.venv/bin/python -c "print('tables are ready')"
exec .venv/bin/python -m uvicorn shop.app:app "$@"
"""


def pyproject(*, scripts: str = "", more: str = "") -> str:
    """Return the project's description, with the back end that needs no other package to be installed."""
    return (
        '[project]\nname = "shop"\nversion = "1.0"\nrequires-python = ">=3.9"\n'
        f"{scripts}\n{more}\n"
        '[build-system]\nrequires = ["uv_build>=0.8,<1"]\nbuild-backend = "uv_build"\n'
    )
