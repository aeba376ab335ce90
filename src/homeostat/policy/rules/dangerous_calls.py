"""Calls that run, load, send, delete or open what the code did not before; by the names of what is called."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from homeostat.model.change import FileChange, FileState, TreeChange
from homeostat.model.proof import PolicyFinding, PolicySeverity
from homeostat.policy.document import PolicyDocument
from homeostat.policy.python_pieces import uses_of_any
from homeostat.policy.python_uses import Use
from homeostat.policy.rules.shape import TEST_FILE, Rule, added_lines


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
    r"shelve\.open|jsonpickle\.(?:decode|loads)|torch\.load|yaml\.(?:unsafe_load\w*|full_load\w*)",
    r"yaml\.(?:UnsafeLoader|Loader|FullLoader)|pandas\.(?:[\w.]+\.)?read_pickle",
    in_tests=False,
)

KINDS = (
    _OBJECTS,
    _kind(
        "runs another program",
        "do it in Python, or say in the reason why a program must be run, and with which arguments",
        r"os\.(?:system|popen\w*|exec[lv]\w*|spawn\w*|posix_spawnp?|startfile|fork\w*)",
        r"subprocess\.(?:run|call|Popen|check_call|check_output|getoutput|getstatusoutput)",
        r"(?:commands\.get\w+|pty\.(?:spawn|fork)|asyncio\.(?:subprocess\.)?create_subprocess_\w+|pexpect\.\w+|sh\.\w+)",
        r"(?:platform\.popen|webbrowser\.open\w*|multiprocessing\.popen\w*|pip\.main|pip\._internal\.\w+|ensurepip\.\w+)",
        in_tests=False,
    ),
    _kind(
        "runs code that it makes from data",
        "parse the data (`ast.literal_eval`, `json`), or call what is meant by its name",
        r"eval|exec|execfile|compile",
        r"(?:code|codeop)\.\w+|runpy\.run_\w+|types\.(?:FunctionType|CodeType|LambdaType)|importlib\.util\.spec_from_\w+",
        r"(?:os|sys|subprocess|builtins|socket|shutil|importlib|pickle|ctypes)\.\?|__import__",
        r"(?:imp|importlib\.machinery)\.(?:load_\w+|SourceFileLoader)",
    ),
    _kind(
        "opens a connection",
        "leave the network to the parts that have it already, or say in the reason what is sent where",
        r"socket\.(?:socket|create_connection|create_server|socketpair|fromfd|getaddrinfo|gethostby\w+)",
        r"(?:requests|httpx)\.(?:get|post|put|patch|delete|head|options|request|Session|Client|AsyncClient|stream|api\.\w+)",
        r"urllib2?\.(?:request\.)?(?:urlopen|urlretrieve|Request|build_opener|URLopener)",
        r"http\.client\.HTTPS?Connection|urllib3\.(?:PoolManager|ProxyManager|request)|aiohttp\.(?:ClientSession|request)",
        r"(?:ftplib|smtplib|telnetlib|poplib|imaplib|nntplib)\.\w+|paramiko\.\w+|xmlrpc\.client\.\w+|websockets?\.\w+",
        r"asyncio\.(?:open_connection|open_unix_connection|start_server)|dns\.resolver\.\w+",
        in_tests=False,
    ),
    _kind(
        "deletes or overwrites files",
        "keep to what the code deleted before, or say in the reason what may be lost",
        r"os\.(?:remove|unlink|rmdir|removedirs|truncate)|shutil\.(?:rmtree|move)|\.rmtree",
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
        r"os\.(?:[lf]?chmod|[lf]?chown|sete?[ug]id|setre[su]id|setgroups|chroot|umask|mknod)|\.chmod",
        in_tests=False,
    ),
    _kind(
        "ends or signals processes past every handler",
        "raise an error, and let the program end as it does",
        r"os\.(?:_exit|kill|killpg|abort)|signal\.(?:pthread_kill|raise_signal)",
    ),
    _kind(
        "turns off what would watch or warn",
        "leave it on; mend what it warns of",
        r"ssl\.(?:_create_unverified_context|_create_default_https_context|CERT_NONE)|urllib3\.disable_warnings",
        r"logging\.disable|sys\.(?:settrace|setprofile|addaudithook|_setprofileallthreads)",
    ),
    _kind(
        "makes a file whose name can be guessed", "use `tempfile.mkstemp`", r"tempfile\.mktemp|os\.(?:tempnam|tmpnam)"
    ),
)

_PLACES = re.compile(
    r"(?:^|[\s=:'\"(])(?:/etc/(?:passwd|shadow|sudoers|ssh|crontab|hosts|ld\.so)|/root/|/dev/tcp/)"
    r"|/proc/(?:self|\d+)/(?:environ|mem|maps)"
    r"|(?:^|/)\.(?:ssh|aws|gnupg|kube|docker|netrc|pypirc|npmrc|git-credentials)(?:/|$)|(?:^|/)id_(?:rsa|ed25519|ecdsa|dsa)\b"
    r"|169\.254\.169\.254|metadata\.google\.internal"
)
_SHELL = re.compile(
    r"\b(?:curl|wget|nc|ncat|socat)\s+-?\S|\b(?:ba|z|k)?sh\s+-[ic]\b|\brm\s+-\w*[rf]|\bchmod\s+[0-7+]|\|\s*(?:ba|z)?sh\b|"
    r"\bpython[0-9.]*\s+-c\b|\bbase64\s+(?:-d|--decode)|>&\s*/dev/|\bmkfifo\b|\bcrontab\b|\bpip\s+install\b"
)
_SHELL_ITSELF = re.compile(r"os\.(?:system|popen\w*)|subprocess\.get\w+output|commands\.get\w+")
_ENCODED = re.compile(r"[A-Za-z0-9+/]{80,}={0,2}|(?:[0-9a-fA-F]{2}){60,}|(?:\\x[0-9a-fA-F]{2}){20,}")


def _check(change: TreeChange, document: PolicyDocument) -> Iterable[PolicyFinding]:
    for item in change.files:
        if item.after is not None and item.path.endswith((".py", ".pyi", ".pyw", ".pyx")):
            yield from _check_file(item, is_test=TEST_FILE.fullmatch(item.path) is not None)


def _check_file(item: FileChange, *, is_test: bool) -> Iterator[PolicyFinding]:
    """Report each danger of which there is more than before, once, at a line that is new where there is one."""
    had = Counter(danger for danger, _ in _dangers(item.before, is_test=is_test))
    found: dict[_Danger, list[int]] = {}
    for danger, line in _dangers(item.after, is_test=is_test):
        found.setdefault(danger, []).append(line)
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
    for use in uses_of_any(state.content) if state else ():
        for danger in _of_text(use.text) if not use.name else _of_call(use, is_test=is_test):
            if danger.in_tests or not is_test:
                yield danger, use.line


def _of_call(use: Use, *, is_test: bool) -> Iterator["_Danger"]:
    for kind in KINDS:
        if kind.names.fullmatch(use.name):
            yield kind.called(use.name)
    words = use.keywords or {}
    if words.get("shell") is True or (is_test and _SHELL_ITSELF.fullmatch(use.name)):
        yield _Danger("hands text to a shell", "give the program's arguments as a list", f"`{use.name}`")
    if words.get("verify") is False or words.get("check_hostname") is False:
        yield _Danger("trusts whoever answers", "verify certificates", f"`{use.name}`")
    if words.get("allow_pickle") is True:
        yield _OBJECTS.called(use.name)
    if use.name == "yaml.load" and len(use.arguments) < 2 and "Loader" not in words:
        yield _OBJECTS.called(use.name)


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
