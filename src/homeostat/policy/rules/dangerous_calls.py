"""What runs, loads, sends, deletes or opens what the code did not before: called, or handed to what may call it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from homeostat.model.change import FileChange, FileState, TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.policy.document import PolicyDocument
from homeostat.policy.python_pieces import uses_of_any
from homeostat.policy.python_uses import Use
from homeostat.policy.rules.shape import TEST_FILE, Rule, added_lines
from homeostat.policy.signs import Signs


@dataclass(frozen=True, slots=True)
class _Danger:
    """One thing that a source does; two of the same are equal."""

    what: str
    remedy: str
    name: str
    """Of what is called; empty for a text."""

    in_tests: bool = True
    """Whether tests have no business with it either. Proofs run them without network and way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What is wrong with calls of some names, and what to do about it."""

    what: str
    remedy: str
    names: re.Pattern[str]
    in_tests: bool

    def called(self, name: str) -> _Danger:
        return _Danger(self.what, self.remedy, f"`{name}`", self.in_tests)


def _kind(what: str, remedy: str, *names: str, in_tests: bool = True) -> _Kind:
    return _Kind(what=what, remedy=remedy, names=re.compile("|".join(names)), in_tests=in_tests)


_OBJECTS = _kind(
    "loads objects from bytes, which runs what the bytes say",
    "use a format that holds data alone: JSON, `yaml.safe_load`",
    r"(?:c?[pP]ickle|_pickle|dill|cloudpickle|joblib|marshal)\.(?:loads?|Unpickler)",
    r"shelve\.open|jsonpickle\.(?:decode|loads)|torch\.load|yaml\.(?:unsafe_load\w*|full_load\w*)|yaml\.C?(?:Unsafe|Full)Loader",
    r"yaml\.C?Loader|pandas\.(?:[\w.]+\.)?read_pickle",
    in_tests=False,
)

_PROGRAMS = _kind(
    "runs another program",
    "do it in Python, or say in the reason why a program must be run, and with which arguments",
    r"os\.(?:system|popen\w*|exec[lv]\w*|spawn\w*|posix_spawnp?|startfile|fork\w*)",
    r"subprocess\.(?:run|call|Popen|check_call|check_output|getoutput|getstatusoutput)",
    r"(?:commands\.get\w+|pty\.(?:spawn|fork)|(?:asyncio|subprocess)\.create_subprocess_\w+|pexpect\.\w+|sh\.\w+)",
    r"(?:platform\.popen|webbrowser\.open\w*|multiprocessing\.popen\w*|pip\.main|pip\._internal\.\w+|ensurepip\.\w+)",
    r"\.subprocess_(?:exec|shell)|(?:trio|anyio)\.(?:run|open)_process|_posixsubprocess\.\w+|distutils\.spawn\.\w+|plumbum\.local",
    r"(?:fabric|invoke)\.(?:run|Connection|sudo)",
    in_tests=False,
)

KINDS = (
    _OBJECTS,
    _PROGRAMS,
    _kind(
        "runs code that it makes from data",
        "parse the data (`ast.literal_eval`, `json`), or call what is meant by its name",
        r"eval|exec|execfile|compile",
        r"(?:code|codeop)\.(?:interact|Interactive\w+|compile_command|CommandCompiler|Compile)|runpy\.run_\w+|types\.(?:FunctionType|CodeType|LambdaType)|importlib\.util\.spec_from_\w+",
        r"(?:os|sys|subprocess|builtins|socket|shutil|importlib|pickle|ctypes)\.\?|__import__",
        r"(?:imp|importlib\.machinery)\.(?:load_\w+|SourceFileLoader)|zipimport\.\w+",
        r"pydoc\.(?:locate|safeimport)|pkgutil\.resolve_name|timeit\.(?:timeit|repeat|Timer)|(?:cProfile|profile|pdb)\.run\w*",
        r"pandas\.eval|numexpr\.evaluate|sympy\.sympify|logging\.config\.(?:listen|fileConfig)",
    ),
    _kind(
        "opens a connection",
        "leave the network to the parts that have it already, or say in the reason what is sent where",
        r"socket\.(?:socket|create_connection|create_server|socketpair|fromfd|getaddrinfo|gethostby\w+)",
        r"(?:requests|httpx)\.(?:get|post|put|patch|delete|head|options|request|Session|Client|AsyncClient|stream|api\.\w+)",
        r"urllib2?\.(?:request\.)?(?:urlopen|urlretrieve|build_opener|URLopener)",
        r"http\.client\.HTTPS?Connection|urllib3\.(?:PoolManager|ProxyManager|request)|aiohttp\.(?:ClientSession|request)",
        r"(?:ftplib|smtplib|telnetlib|poplib|imaplib|nntplib)\.\w+|paramiko\.\w+|xmlrpc\.client\.\w+|websockets?\.\w+",
        r"asyncio\.(?:open_connection|open_unix_connection|start_server)|dns\.resolver\.\w+|\.create_connection|pycurl\.\w+",
        r"http\.server\.\w*Server|socketserver\.\w+Server|multiprocessing\.connection\.(?:Client|Listener)",
        r"multiprocessing\.managers\.\w+",
        in_tests=False,
    ),
    _kind(
        "deletes or overwrites files",
        "keep to what the code deleted before, or say in the reason what may be lost",
        r"os\.(?:remove|unlink|rmdir|removedirs|truncate)|shutil\.(?:rmtree|move)|(?:pathlib\.Path)?\.(?:rmtree|unlink|rmdir)",
        r"(?:zipfile|tarfile)?(?:\.\w+)?\.extractall",
        in_tests=False,
    ),
    _kind(
        "calls machine code or memory past the interpreter",
        "use a published package for it",
        r"ctypes\.(?:CDLL|PyDLL|WinDLL|OleDLL|cdll|windll|pythonapi|memmove|memset|string_at|cast)[\w.]*|cffi\.FFI",
    ),
    _kind(
        "changes who may do what on the machine",
        "leave rights to whoever runs the program",
        r"shutil\.chown|os\.(?:[lf]?chmod|[lf]?chown|sete?[ug]id|setre[su]id|setgroups|chroot|umask|mknod)|\.chmod",
        in_tests=False,
    ),
    _kind(
        "ends or signals processes past every handler",
        "raise an error, and let the program end as it does",
        r"os\.(?:_exit|kill|killpg|abort)|signal\.(?:pthread_kill|raise_signal)|signal\.SIG_IGN",
    ),
    _kind(
        "turns off what would watch or warn",
        "leave it on; mend what it warns of",
        r"ssl\.(?:_create_unverified_context|_create_default_https_context|CERT_NONE)|urllib3\.disable_warnings",
        r"logging\.disable|faulthandler\.disable|sys\.(?:settrace|setprofile|addaudithook|_setprofileallthreads)",
    ),
    _kind(
        "reaches past what the code was given, to names and modules of others",
        "use what is imported, by its name",
        r".*\.(?:__globals__|__builtins__|__subclasses__|f_globals|f_builtins|gi_frame|cr_frame)|gc\.get_(?:objects|referrers)",
    ),
    _kind(
        "changes where code is loaded from",
        "install what is needed, and import it by its name",
        r"sys\.(?:path|meta_path|path_hooks)\.(?:insert|append|extend)|site\.addsitedir|os\.(?:environ\.(?:update|clear)|putenv)",
        in_tests=False,
    ),
    _kind(
        "stops the program for a debugger", "take it out", r"breakpoint|(?:pdb|ipdb|pudb)\.(?:set_trace|post_mortem|pm)"
    ),
    _kind(
        "makes a file whose name can be guessed", "use `tempfile.mkstemp`", r"tempfile\.mktemp|os\.(?:tempnam|tmpnam)"
    ),
)

_REPLACED = re.compile(
    r"open|__import__|eval|exec|compile|(?:builtins|sys\.modules|ssl)\b.*|os\.(?!environ)\w+|socket\.\w+"
)
"""What other code relies on to be itself."""

_TYPES = re.compile(r"(?!yaml\.).*\.(?:[A-Z]\w*[a-z]\w*|socket)|compile")
"""What is often compared with or told, without being called."""

_QUERY = re.compile(r"(?i)\s*(?:select|insert|update|delete|drop|alter|create|with|replace|merge|truncate|grant)\b")
_ALL_ROWS = re.compile(r"(?i)\s*(?:drop\s+(?:table|database|schema)|truncate\b|delete\s+from\s+\S+\s*;?\s*$)")
_EXECUTE = re.compile(r".*\.(?:execute(?:many|script)?|raw|read_sql(?:_query)?)")

_CREDENTIALS = re.compile(r"(?i).*(?:secret|token|passw|api_?key|private|credential)|AWS_\w+|DATABASE_URL|\w+_DSN")

_PLACES = re.compile(
    r"(?:^|[\s=:'\"(])(?:/etc/(?:passwd|shadow|sudoers|ssh|cron|hosts|ld\.so|profile|init|systemd|pam)|/root/|/dev/tcp/)"
    r"|/var/spool/cron|(?:^|/)\.(?:bashrc|bash_profile|zshrc|profile)$|authorized_keys"
    r"|^(?:LD_PRELOAD|LD_AUDIT|LD_LIBRARY_PATH|DYLD_\w+|PYTHONSTARTUP|PYTHONPATH|PYTHONINSPECT)$"
    r"|/proc/(?:self|\d+)/(?:environ|mem|maps)"
    r"|(?:^|/)\.(?:ssh|aws|gnupg|kube|docker|netrc|pypirc|npmrc|git-credentials)(?:/|$)|(?:^|/)id_(?:rsa|ed25519|ecdsa|dsa)\b"
    r"|169\.254\.169\.254|metadata\.google\.internal"
)
_SHELL = re.compile(
    r"\b(?:curl|wget)\s+(?:-[\w-]+\s+){0,9}['\"]?(?:\w+://|\$|[\d.]+[:/]|\{)|\b(?:nc|ncat|socat)\s+-|\b(?:bash|zsh|ksh|sh)\s+-[ic]\b|\brm\s+-\w*[rf]|\bchmod\s+[0-7+]|\|\s*(?:/bin/)?(?:bash|zsh|sh)(?:\s|$|['\"])|"
    r"\bpython[0-9.]*\s+-c\b|\bbase64\s+(?:-d|--decode)|>&\s*/dev/|\bmkfifo\b|\bcrontab\s+-"
)
_SHELL_ITSELF = re.compile(r"os\.(?:system|popen\w*)|subprocess\.get\w+output|commands\.get\w+")
_ENCODED = re.compile(r"[A-Za-z0-9+/]{80,}={0,2}|(?:[0-9a-fA-F]{2}){60,}|(?:\\x[0-9a-fA-F]{2}){20,}")


_SIGNS = Signs(
    (*(kind.names for kind in KINDS), _REPLACED, _EXECUTE, _PLACES, _SHELL),
    # What keywords say, and the environment.
    words=(
        *("shell", "verify", "check_hostname", "allow_pickle", "debug", "autoescape", "__code__", "yaml"),
        *("environ", "getenv"),
    ),
)


def programs_of(source: bytes) -> Iterator[str]:
    """Yield the dotted names of calls that run other programs."""
    for use in uses_of_any(source, _SIGNS):
        if _PROGRAMS.names.fullmatch(use.name):
            yield use.name


def _check(change: TreeChange, document: PolicyDocument) -> Iterable[PolicyFinding]:
    for item in change.files:
        if item.after is not None and item.path.endswith((".py", ".pyi", ".pyw", ".pyx")):
            yield from _check_file(item, is_test=TEST_FILE.fullmatch(item.path) is not None)


def _check_file(item: FileChange, *, is_test: bool) -> Iterator[PolicyFinding]:
    """Report each danger of which there is more than before, once, at a line that is new where there is one."""
    found: dict[_Danger, list[int]] = {}
    for danger, line in _dangers(item.after, is_test=is_test):
        found.setdefault(danger, []).append(line)
    had = Counter(danger for danger, _ in _dangers(item.before, is_test=is_test)) if found else Counter()
    if not any(len(lines) > had[danger] for danger, lines in found.items()):
        return
    new = {number for number, _ in added_lines(item)}
    for danger, lines in found.items():
        if len(lines) > had[danger]:
            yield PolicyFinding(
                rule="dangerous-calls",
                severity=PolicySeverity.REVIEW,
                path=item.path,
                line=next((line for line in lines if line in new), lines[0]),
                message=f"this newly {danger.what}{danger.name and f': {danger.name}'}",
                remedy=danger.remedy,
            )


def _dangers(state: FileState | None, *, is_test: bool) -> "Iterator[tuple[_Danger, int]]":
    for use in uses_of_any(state.content, _SIGNS) if state else ():
        for danger in _of_use(use, is_test=is_test):
            if danger.in_tests or not is_test:
                yield danger, use.line


def _of_use(use: Use, *, is_test: bool) -> Iterator["_Danger"]:
    if use.kind == "text":
        return _of_text(use.text)
    if use.kind == "set":
        return _of_assignment(use)
    if use.kind == "value" and _TYPES.fullmatch(use.name):
        return iter(())
    return _of_call(use, is_test=is_test)


def _of_assignment(use: Use) -> Iterator["_Danger"]:
    words = use.keywords or {}
    if words.get("verify") is False or words.get("check_hostname") is False:
        yield _Danger("trusts whoever answers", "verify certificates", f"`{use.name}`")
    if _REPLACED.fullmatch(use.name):
        yield _Danger(
            "puts something in the place of what all code calls", "call it by a name of its own", f"`{use.name}`"
        )
    if "__code__" in words:
        yield _Danger("exchanges the code of a function", "define the function as it is meant", f"`{use.name}`")


@lru_cache(maxsize=4096)
def _of_name(name: str) -> tuple["_Danger", ...]:
    return tuple(kind.called(name) for kind in KINDS if kind.names.fullmatch(name))


def _of_call(use: Use, *, is_test: bool) -> Iterator["_Danger"]:
    yield from _of_name(use.name)
    if use.kind == "value":
        return
    words = use.keywords or {}
    if words.get("shell", False) not in (False, None, 0) or (is_test and _SHELL_ITSELF.fullmatch(use.name)):
        yield _Danger("hands text to a shell", "give the program's arguments as a list", f"`{use.name}`")
    if words.get("verify") is False or words.get("check_hostname") is False:
        yield _Danger("trusts whoever answers", "verify certificates", f"`{use.name}`")
    if words.get("allow_pickle") is True:
        yield _OBJECTS.called(use.name)
    if use.name in ("yaml.load", "yaml.load_all") and len(use.arguments) < 2 and "Loader" not in words:
        yield _OBJECTS.called(use.name)

    if _EXECUTE.fullmatch(use.name):
        if use.built is not None and (_QUERY.match(use.built) or not use.built):
            yield _Danger(
                "puts values into the text of a query", "hand them over as parameters", f"`{use.name}`", False
            )
        elif use.arguments and _ALL_ROWS.match(use.arguments[0] or ""):
            yield _Danger("deletes whole tables", "say in the reason what may be lost", f"`{use.name}`", in_tests=False)
    mode = use.arguments[1] if len(use.arguments) > 1 else words.get("mode")
    if use.name in ("open", "io.open") and isinstance(mode, str) and mode.startswith("w"):
        yield _Danger("overwrites files", "say in the reason what is written where", f"`{use.name}`", in_tests=False)
    first = (use.arguments[0] if use.arguments else None) or ""
    if use.name in ("os.environ[]", "os.getenv", "os.environ.get") and _CREDENTIALS.match(first):
        yield _Danger("reads a credential", "let the settings hand it over", f"`{first}`", in_tests=False)
    if "os.environ" in use.given:
        yield _Danger("hands all of the environment on", "name what is needed of it", f"`{use.name}`", in_tests=False)
    if words.get("debug") is True and use.name.endswith(".run"):
        yield _Danger("lets whoever asks run code, by a debugger", "leave it off", f"`{use.name}`", in_tests=False)
    if words.get("autoescape") is False:
        yield _Danger("puts texts of others into pages as they are", "leave escaping on", f"`{use.name}`")


def _of_text(text: str) -> Iterator["_Danger"]:
    if _PLACES.search(text):
        what = "names a place in a text where credentials or accounts lie"
        yield _Danger(what, "leave it to the system", "", in_tests=False)
    if _ENCODED.search(text):
        what = "carries data in a text that nobody can read"
        yield _Danger(what, "put it into a file that says what it is", "", in_tests=False)
    if _SHELL.search(text):
        yield _Danger("holds a command of a shell in a text", "do it in Python", "", in_tests=False)


RULE = Rule(id="dangerous-calls", summary="Newly dangerous calls in Python are pointed out", check=_check)
