"""What newly runs, loads, sends, deletes or hides is pointed out, however it is spelt; what was there is not."""

import pytest
from builders import POLICY, create, modify, tree
from hypothesis import given
from hypothesis import strategies as st

from homeostat.policy.rules.dangerous_calls import RULE

BASE = "import json\n\n\ndef total(items):\n    return sum(items)\n"


def found(item):
    return list(RULE.check(tree(item), POLICY))


def with_line(line, imports=""):
    return modify("shop/cart.py", BASE, f"{imports}{BASE.replace('    return', f'    {line}{chr(10)}    return')}")


@pytest.mark.parametrize(
    ("line", "imports", "what"),
    [
        ("os.system('ls')", "import os\n", "runs another program"),
        ("system('ls')", "from os import system\n", "runs another program"),
        ("system('ls')", "from os import *\n", "runs another program"),
        ("run('ls')", "from os import system as run\n", "runs another program"),
        ("sp.run(['ls'])", "import subprocess as sp\n", "runs another program"),
        ("call = subprocess.Popen; call(['ls'])", "import subprocess\n", "runs another program"),
        ("subprocess.run('ls', shell=True)", "import subprocess\n", "hands text to a shell"),
        ("getattr(os, 'sys' + 'tem')('ls')", "import os\n", "runs another program"),
        ("getattr(os, 'metsys'[::-1])('ls')", "import os\n", "runs another program"),
        ("getattr(os, name)('ls')", "import os\n", "runs code that it makes from data"),
        ("__import__('os').system('ls')", "", "runs another program"),
        ("importlib.import_module('o' 's').system('ls')", "import importlib\n", "runs another program"),
        ("m = __import__(''.join(['o', 's'])); m.system('ls')", "", "runs another program"),
        ("vars(os)['system']('ls')", "import os\n", "runs another program"),
        ("os.__dict__['system']('ls')", "import os\n", "runs another program"),
        ("sys.modules['os'].system('ls')", "import sys\n", "runs another program"),
        ("eval(items)", "", "runs code that it makes from data"),
        ("globals()['eval'](items)", "", "runs code that it makes from data"),
        ("__builtins__['exec'](items)", "", "runs code that it makes from data"),
        ("__builtins__.exec(items)", "", "runs code that it makes from data"),
        ("builtins.eval(items)", "import builtins\n", "runs code that it makes from data"),
        ("run = eval; run(items)", "", "runs code that it makes from data"),
        ("pickle.loads(items)", "import pickle\n", "loads objects from bytes"),
        ("yaml.load(items)", "import yaml\n", "loads objects from bytes"),
        ("np.load(items, allow_pickle=True)", "import numpy as np\n", "loads objects from bytes"),
        ("requests.post('http://x', data=items)", "import requests\n", "opens a connection"),
        ("urlopen('http://x')", "from urllib.request import urlopen\n", "opens a connection"),
        ("socket.create_connection(('x', 1))", "import socket\n", "opens a connection"),
        ("print(list(map(eval, items)))", "", "runs code that it makes from data"),
        ("[eval][0](items)", "", "runs code that it makes from data"),
        ("(lambda f=os.system: f('ls'))()", "import os\n", "runs another program"),
        ("threading.Thread(target=os.system, args=['ls']).start()", "import os\n", "runs another program"),
        ("a, b = os.system, 1; a('ls')", "import os\n", "runs another program"),
        ("self.run = subprocess.run; self.run(['ls'])", "import subprocess\n", "runs another program"),
        ("os.system.__call__('ls')", "import os\n", "runs another program"),
        ("posix.system('ls')", "import posix\n", "runs another program"),
        ("json.os.system('ls')", "", "runs another program"),
        ("vars(os).get('system')('ls')", "import os\n", "runs another program"),
        ("object.__getattribute__(os, 'system')('ls')", "import os\n", "runs another program"),
        ("operator.attrgetter('system')(os)('ls')", "import operator, os\n", "runs another program"),
        ("getattr(__builtins__, items)(1)", "", "runs code that it makes from data"),
        ("print.__self__.eval(items)", "", "runs code that it makes from data"),
        ("ｅval(items)", "", "runs code that it makes from data"),
        ("().__class__.__base__.__subclasses__()", "", "reaches past what the code was given"),
        ("total.__globals__['os'].system('ls')", "", "runs another program"),
        ("subprocess.run('ls', **{'shell': True})", "import subprocess\n", "hands text to a shell"),
        ("yaml.load(items, Loader=yaml.Loader)", "import yaml\n", "loads objects from bytes"),
        ("pathlib.Path(items).unlink()", "import pathlib\n", "deletes or overwrites files"),
        ("open(items, 'w')", "", "overwrites files"),
        ("json.dumps(dict(os.environ))", "import os\n", "hands all of the environment on"),
        ("builtins.open = total", "import builtins\n", "in the place of what all code calls"),
        ("total.__code__ = items", "", "exchanges the code of a function"),
        ("session.verify = False", "", "trusts whoever answers"),
        ("sys.path.insert(0, '/tmp')", "import sys\n", "where code is loaded from"),
        ("os.environ['LD_PRELOAD'] = items", "import os\n", "names a place"),
        ("db.execute(f'select {items} from t')", "", "values into the text of a query"),
        ("db.execute('select * from t where a = ' + items)", "", "values into the text of a query"),
        ("db.execute('select * from t where a = %s' % items)", "", "values into the text of a query"),
        ("db.execute('select {}'.format(items))", "", "values into the text of a query"),
        ("db.execute('DROP TABLE users')", "", "deletes whole tables"),
        ("app.run(debug=True)", "", "by a debugger"),
        ("requests.get('https://x', verify=False)", "import requests\n", "trusts whoever answers"),
        ("shutil.rmtree(items)", "import shutil\n", "deletes or overwrites files"),
        ("os.remove(items)", "import os\n", "deletes or overwrites files"),
        ("ctypes.CDLL(None)", "import ctypes\n", "calls machine code"),
        ("os._exit(0)", "import os\n", "ends or signals processes"),
        ("os.chmod(items, 0o777)", "import os\n", "changes who may do what"),
        ("open('/etc/passwd').read()", "", "where credentials or accounts lie"),
        ("open(home + '/.ssh/id_rsa').read()", "", "where credentials or accounts lie"),
        ("Path(items).unlink()", "from pathlib import Path\n", "deletes or overwrites files"),
        ("open(items, 'w').write('')", "", "overwrites files"),
        ("sys.path.insert(0, items)", "import sys\n", "where code is loaded from"),
        ("sys.modules['json'] = items", "import sys\n", "in the place of what all code calls"),
        ("builtins.open = items", "import builtins\n", "in the place of what all code calls"),
        ("ssl._create_default_https_context = items", "import ssl\n", "in the place of what all code calls"),
        ("os.environ.update(items)", "import os\n", "where code is loaded from"),
        ("print(os.environ['AWS_SECRET_ACCESS_KEY'])", "import os\n", "reads a credential"),
        ("x = os.getenv('STRIPE_API_KEY')", "import os\n", "reads a credential"),
        ("x = environ.get('DB_PASSWORD')", "from os import environ\n", "reads a credential"),
        ("json.dump(dict(os.environ), items)", "import os\n", "hands all of the environment on"),
        ("send(data=os.environ)", "import os\n", "hands all of the environment on"),
        ("cursor.execute(f'SELECT {items}')", "", "puts values into the text of a query"),
        ("cursor.execute('SELECT %s' % items)", "", "puts values into the text of a query"),
        ("cursor.execute('SELECT ' + items)", "", "puts values into the text of a query"),
        ("cursor.execute('SELECT {}'.format(items))", "", "puts values into the text of a query"),
        ("cursor.execute('DROP TABLE orders')", "", "deletes whole tables"),
        ("tar.extractall(items)", "", "deletes or overwrites files"),
        ("x = 'curl -s http://x | sh'", "", "holds a command of a shell"),
        (f"x = '{'QUJD' * 30}'", "", "data in a text that nobody can read"),
    ],
)
def test_a_danger_is_found_however_it_is_spelt(line, imports, what):
    messages = [finding.message for finding in found(with_line(line, imports))]
    assert any(what in message for message in messages), messages
    if not imports.strip() or imports.strip() == f"import {line.partition('.')[0]}":  # else a piece does not show it
        pieces = [finding.message for finding in found(create("shop/cart.py", f"    return [\n{line}\n"))]
        assert any(what in message for message in pieces), "in a piece that does not parse"


@pytest.mark.parametrize(
    ("line", "imports"),
    [
        ("pattern = re.compile(items)", "import re\n"),
        ("items = ast.literal_eval(items)", "import ast\n"),
        ("items = yaml.safe_load(items)", "import yaml\n"),
        ("items = yaml.load(items, yaml.SafeLoader)", "import yaml\n"),
        ("items = json.loads(items)", ""),
        ("path = os.path.join('a', 'b')", "import os\n"),
        ("self.eval(items)", ""),
        ("model.eval()", ""),
        ("cursor.execute('select 1')", ""),
        ("name = getattr(items, key)", ""),
        ("text = open('notes.txt').read()", ""),
        ("text = open('notes.txt', 'rb').read()", ""),
        ("x = os.environ['HOME']", "import os\n"),
        ("os.environ['LANG'] = 'C'", "import os\n"),
        ("self.path = items", ""),
        ("cursor.execute('SELECT ?', (items,))", ""),
        ("cursor.execute('SELECT 1 ' 'FROM x')", ""),
        ("cursor.execute('DELETE FROM x WHERE id = ?', (items,))", ""),
        ("'''Run `curl http://x` to try it.'''", ""),
        ("log.warning('could not remove %s', items)", "import logging as log\n"),
        ("requests = []; requests.append(1)", ""),
        ("thread = threading.Thread(target=total)", "import threading\n"),
        ("eval = json.loads; items = list(map(eval, items))", ""),
        ("if isinstance(items, subprocess.CompletedProcess): pass", "import subprocess\n"),
        ("sock: socket.socket | None = None", "import socket\n"),
        ("db.execute('select * from t where a = ?', (items,))", ""),
        ("raise ImportError('this needs more: pip install shop[all]')", ""),
        ("text = open(items, 'rb').read()", ""),
        ("# eval(items); os.system('ls')", ""),
        ("items = 'eval(items)'", ""),
    ],
)
def test_what_only_looks_like_one_is_left_alone(line, imports):
    assert found(with_line(line, imports)) == []


def test_what_was_there_before_is_left_alone_also_where_it_moves_and_more_of_it_is_not():
    before = "import os\n\n\ndef a():\n    os.system('x')\n"
    moved = "import os\n\n\ndef b():\n    return 1\n\n\ndef a():\n    os.system('x')\n"
    assert found(modify("a.py", before, moved)) == []
    (more,) = found(modify("a.py", before, f"{before}    os.system('y')\n"))
    assert (more.line, more.path) == (6, "a.py")


def test_tests_may_call_programs_and_make_files_and_not_hand_text_to_a_shell():
    for line in ("subprocess.run(['x'])", "pickle.loads(b'')", "os.remove('x')", "open('/etc/passwd')"):
        assert found(create("tests/test_cart.py", f"import os, pickle, subprocess\n{line}\n")) == []
    for line in ("os.system('x')", "subprocess.run('x', shell=True)", "eval('1')", "os._exit(0)"):
        assert found(create("tests/test_cart.py", f"import os, subprocess\n{line}\n")) != []


def test_a_file_that_does_not_parse_is_read_statement_by_statement():
    text = (
        "        first, last=os.system('x'))\n"
        "    elif subprocess.run(['y']):\n"
        "        return pickle.loads(data)\n"
        "    except OSError:\n"
        "        eval(\n            '1' +\n            items)\n"
        "    @wrapped(requests.get('http://x'))\n"
        "    def f(self,\n"
    )
    assert [finding.line for finding in found(create("a.py", text))] == [1, 2, 3, 5, 8]


def test_a_comment_after_what_does_not_parse_is_no_call():
    assert found(create("a.py", "    x = )  # as eval(x) did\n")) == []


def test_a_large_file_that_does_not_parse_is_read_to_its_end_each_statement_a_bounded_number_of_times():
    for line in ("(", "x = )", '"""', "x \\"):
        (finding,) = found(create("a.py", f"{line}\n" * 20_001 + "x = ) + os.system('x')\n"))
        assert finding.line == 20_002


def test_only_python_is_read():
    assert found(create("notes.md", "import os\nos.system('x')\n")) == []


@given(st.text(alphabet="os.system(eval)\"'\\\n#[]{}:=@ \tif", max_size=300))
def test_any_text_is_read_to_its_end(text):
    for finding in found(create("a.py", text)):
        assert 1 <= finding.line <= text.count("\n") + 1
