"""Settings: which source wins, where each value comes from, and what is refused with its line."""

import os
from dataclasses import fields
from typing import get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeostat.adapters.settings import FILE_NAME, load_settings
from homeostat.core.errors import InvalidInput
from homeostat.model.settings import HmrMode, Profile, PrometheusQuery, Settings, table_names


@pytest.fixture
def load(tmp_path):
    def read(text=None, **environment):
        if text is not None:
            data = text if isinstance(text, bytes) else text.encode()
            (tmp_path / FILE_NAME).write_bytes(data)
        return load_settings(tmp_path, environment)

    return read


@pytest.fixture
def refused(load):
    def read(text=None, **environment):
        with pytest.raises(InvalidInput) as caught:
            load(text, **environment)
        assert caught.value.code == "bad-setting"
        assert "\n" not in caught.value.message and len(caught.value.message) < 400
        return caught.value.message

    return read


def source_of(loaded, name):
    return next(origin.source for origin in loaded.origins if origin.name == name)


def test_without_a_file_everything_is_the_default(load):
    loaded = load()
    assert loaded.settings == Settings() and loaded.warnings == ()
    assert {origin.source for origin in loaded.origins} == {"default"}
    assert all(origin.doc for origin in loaded.origins)


def test_every_setting_has_an_origin(load):
    hints = get_type_hints(Settings)
    names = {"profile"} | {f"{table}.{item.name}" for table in table_names() for item in fields(hints[table])}
    assert {origin.name for origin in load().origins} == names


def test_the_file_wins_over_the_default_and_says_its_line(load):
    loaded = load('profile = "dev"\n\n[hub]\n# a comment\nport = 0\n[host]\ntest_command = ["python", "-m", "x y"]\n')
    assert loaded.settings.profile is Profile.DEV
    assert loaded.settings.hub.port == 0
    assert loaded.settings.host.test_command == ("python", "-m", "x y")
    assert source_of(loaded, "profile") == "homeostat.toml:1"
    assert source_of(loaded, "hub.port") == "homeostat.toml:5"
    assert source_of(loaded, "hub.bind") == "default"


def test_the_environment_wins_over_the_file(load):
    loaded = load("[hub]\nport = 1\n", HOMEOSTAT_HUB_PORT=" 2 ")
    assert (loaded.settings.hub.port, source_of(loaded, "hub.port")) == (2, "HOMEOSTAT_HUB_PORT")


def test_our_own_variable_wins_over_the_source_documents(load):
    loaded = load("[hmr]\nenabled = true\n", AETHERRA_HMR_ENABLED="0", HOMEOSTAT_HMR_ENABLED="yes")
    assert (loaded.settings.hmr.enabled, source_of(loaded, "hmr.enabled")) == (True, "HOMEOSTAT_HMR_ENABLED")


@pytest.mark.parametrize(
    ("variable", "raw", "name", "value"),
    [
        ("HOMEOSTAT_HMR_TIMEOUT_S", "2.5", "hmr.timeout_s", 2.5),
        ("HOMEOSTAT_HMR_ENABLED", "ON", "hmr.enabled", True),
        ("HOMEOSTAT_HMR_ENABLED", "No", "hmr.enabled", False),
        ("HOMEOSTAT_HOST_TEST_COMMAND", "python  -m pytest", "host.test_command", ("python", "-m", "pytest")),
        ("HOMEOSTAT_HOST_TEST_COMMAND", "", "host.test_command", ()),
        ("HOMEOSTAT_HOST_PYTHON", ".venv/bin/python", "host.python", ".venv/bin/python"),
        ("HOMEOSTAT_PROFILE", "Prod", "profile", Profile.PROD),
        ("HOMEOSTAT_OBSERVATION_FALSE_ROLLBACK", "1e-3", "observation.false_rollback", 0.001),
    ],
)
def test_a_variable_is_read_as_its_settings_type(load, variable, raw, name, value):
    loaded = load(**{variable: raw})
    origin = next(origin for origin in loaded.origins if origin.name == name)
    assert (origin.value, origin.source) == (value, variable)


# The source documents' variables


def test_hmr_is_off_where_nothing_says_otherwise(load):
    assert load().settings.hmr.enabled is False
    assert load(AETHERRA_HMR_ENABLED="1").settings.hmr.enabled is True
    assert load(AETHERRA_HMR_ENABLED="0").settings.hmr.enabled is False


def test_an_invalid_hmr_mode_is_said_and_read_as_safe(load):
    loaded = load('[hmr]\nmode = "aggressive"\n', AETHERRA_HMR_MODE="reckless\n\x1b[2J" * 50)
    assert loaded.settings.hmr.mode is HmrMode.SAFE
    assert source_of(loaded, "hmr.mode") == "AETHERRA_HMR_MODE"
    (warning,) = loaded.warnings
    assert "safe is used" in warning and "\x1b" not in warning and len(warning) < 200


@pytest.mark.parametrize("given", [{"AETHERRA_HMR_MODE": "force"}, {}])
def test_the_profile_prod_takes_no_risks(load, given):
    with pytest.raises(InvalidInput, match="takes risks, and this is the profile prod"):
        load("" if given else '[hmr]\nmode = "aggressive"\n', AETHERRA_PROFILE="prod", **given)


@pytest.mark.parametrize("raw", ["force", "FORCE", "aggressive", " Aggressive "])
def test_force_is_read_as_aggressive(load, raw):
    loaded = load(AETHERRA_HMR_MODE=raw)
    assert loaded.settings.hmr.mode is HmrMode.AGGRESSIVE and loaded.warnings == ()
    assert load('[hmr]\nmode = "force"\n').settings.hmr.mode is HmrMode.AGGRESSIVE


def test_an_invalid_mode_in_our_own_words_is_an_error(refused):
    assert "homeostat.toml:2" in refused('[hmr]\nmode = "reckless"\n')
    assert "HOMEOSTAT_HMR_MODE" in refused("", HOMEOSTAT_HMR_MODE="reckless")


@pytest.mark.parametrize(("raw", "profile"), [("production", "prod"), ("Production", "prod"), ("quiet", "quiet")])
def test_the_documented_profile_is_honoured(load, raw, profile):
    assert load(AETHERRA_PROFILE=raw).settings.profile == profile


def test_strict_mode_is_refused_rather_than_ignored(load, refused):
    """It asks that unsigned proposals are not accepted: going on would accept them."""
    assert "AETHERRA_SELFINC_STRICT" in refused(AETHERRA_SELFINC_STRICT="1")
    for raw in ("0", "", "false"):
        assert load(AETHERRA_SELFINC_STRICT=raw).warnings == ()


@pytest.mark.parametrize(
    ("variable", "raw"),
    [
        ("AETHERRA_NET_STRICT", "1"),
        ("AETHERRA_HMR_STRICT", "true"),
        ("AETHERRA_HMR_ALLOWED_SOURCES", "a,b"),
        ("AETHERRA_GUARD_INTEGRATION_PER_HOUR", "5"),
        ("AETHERRA_GUARD_ROLLBACKS_PER_HOUR", "0"),  # no limit at all is not what 0 asks for
        ("AETHERRA_REQUIRE_CAPABILITIES", "1"),
    ],
)
def test_a_protection_that_is_not_there_is_refused_rather_than_ignored(refused, variable, raw):
    assert variable in refused(**{variable: raw})


def test_what_belongs_to_a_part_that_is_not_there_is_said(load):
    (warning,) = load(AETHERRA_KERNEL_DLQ="1").warnings
    assert "AETHERRA_KERNEL_DLQ" in warning and "yet" in warning


def test_the_documented_log_level_and_quiet_are_honoured(load):
    assert load(AETHERRA_LOG_LEVEL="DEBUG").settings.log.level == "debug"
    assert load(AETHERRA_QUIET="1").settings.profile is Profile.QUIET
    assert load(AETHERRA_QUIET="0").settings.profile is Profile.STANDARD
    assert load(AETHERRA_QUIET="1", AETHERRA_PROFILE="prod").settings.profile is Profile.PROD


def test_a_profile_sets_defaults_and_says_so_and_the_file_wins(load):
    loaded = load('profile = "dev"\n[observation]\nmin_requests = 7\n')
    assert loaded.settings.observation.window_s == 300
    assert source_of(loaded, "observation.window_s") == "profile dev"
    assert (loaded.settings.observation.min_requests, source_of(loaded, "observation.min_requests")) == (
        7,
        "homeostat.toml:3",
    )


def test_approval_cannot_be_switched_off(load, refused):
    assert load("[self_improvement]\nrequire_approval = true\n").settings.self_improvement.require_approval
    assert "homeostat.toml:2" in refused("[self_improvement]\nrequire_approval = false\n")


@pytest.mark.parametrize("profile", ["dev", "test"])
def test_auto_reload_is_for_developers(load, profile):
    text = f'profile = "{profile}"\n[hmr]\nenabled = true\n'
    assert load(text).settings.hmr.auto_reload is False
    loaded = load(text, AETHERRA_HMR_AUTO_RELOAD="1")
    assert loaded.settings.hmr.auto_reload and source_of(loaded, "hmr.auto_reload") == "AETHERRA_HMR_AUTO_RELOAD"
    assert load(text + "auto_reload = true\n", AETHERRA_HMR_AUTO_RELOAD="0").settings.hmr.auto_reload is False


@pytest.mark.parametrize("profile", ["standard", "prod", "quiet"])
def test_auto_reload_is_refused_where_others_are_served(load, refused, profile):
    text = f'profile = "{profile}"\n[hmr]\nenabled = true\nauto_reload = true\n'
    told = refused(text)
    assert "homeostat.toml:4" in told and profile in told
    assert "AETHERRA_HMR_AUTO_RELOAD" in refused(f'profile = "{profile}"\n', AETHERRA_HMR_AUTO_RELOAD="1")
    assert load(f'profile = "{profile}"\n', AETHERRA_HMR_AUTO_RELOAD="0").settings.hmr.auto_reload is False


def test_auto_reload_without_hot_reload_is_a_mistake(refused):
    assert "needs `hmr.enabled`" in refused('profile = "dev"\n[hmr]\nauto_reload = true\n')


def test_other_variables_of_ours_are_not_settings_and_an_unknown_one_is_said(load):
    known = {
        "HOMEOSTAT_STATE_DIR": "x",
        "HOMEOSTAT_HUB_URL": "x",
        "HOMEOSTAT_TOKEN": "x",
        "HOMEOSTAT_TEST_DATA": "x",
        "HOMEOSTAT_AGENT_LAUNCH": "x",
        "HOME": "x",
    }
    assert load(**known).warnings == ()
    (warning,) = load(HOMEOSTAT_HUB_PROT="1").warnings
    assert "HOMEOSTAT_HUB_PROT" in warning


# What is refused, and the line that is named


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour = 1\n", ["homeostat.toml:1", "colour"]),
        ("\n\n[hmr]\nenable = true\n", ["homeostat.toml:4", "`hmr.enable`"]),
        ("\n[colours]\n", ["homeostat.toml:2", "[colours]"]),
        ("[hmr.more]\nx = 1\n", ["homeostat.toml:1", "`hmr.more`"]),
        ("\nhmr = 5\n", ["homeostat.toml:2", "`hmr`"]),
        ("[hub]\n\nport = '3001'\n", ["homeostat.toml:3", "whole number"]),
        ("[hub]\nport = 3001.0\n", ["homeostat.toml:2", "whole number"]),
        ("[hub]\nport = true\n", ["homeostat.toml:2", "whole number"]),
        ("[hub]\nport = []\n", ["homeostat.toml:2", "whole number"]),
        ("[hub]\nport = 65536\n", ["homeostat.toml:2", "65536", "0 to 65535"]),
        ("[hub]\nport = -1\n", ["homeostat.toml:2", "0 to 65535"]),
        ("[hub]\nport = " + "9" * 400 + "\n", ["homeostat.toml:2"]),
        ("[hub]\nport = " + "9" * 5000 + "\n", ["homeostat.toml"]),
        ("[hub]\nport = inf\n", ["homeostat.toml:2", "whole number"]),
        ("[hub]\nbind = '0.0.0.0'\n", ["homeostat.toml:2", "loopback"]),
        ("[hub]\nbind = 5\n", ["homeostat.toml:2", "text"]),
        ("[hmr]\nenabled = 1\n", ["homeostat.toml:2", "true or false"]),
        ("[hmr]\nenabled = 'true'\n", ["homeostat.toml:2", "true or false"]),
        ("[hmr]\nmode = 1\n", ["homeostat.toml:2", "text"]),
        ("[hmr]\ntimeout_s = nan\n", ["homeostat.toml:2", "finite"]),
        ("[hmr]\ntimeout_s = inf\n", ["homeostat.toml:2", "finite"]),
        ("[hmr]\ntimeout_s = -inf\n", ["homeostat.toml:2", "finite"]),
        ("[hmr]\ntimeout_s = " + "9" * 400 + "\n", ["homeostat.toml:2", "finite"]),
        ("[hmr]\ntimeout_s = '10'\n", ["homeostat.toml:2", "a number"]),
        ("[hmr]\ntimeout_s = 2026-01-01\n", ["homeostat.toml:2", "a number"]),
        ("[hmr]\ntimeout_s = 0.09\n", ["homeostat.toml:2", "0.1 to 300"]),
        ("[host]\ntest_command = 'pytest -q'\n", ["homeostat.toml:2", '["a", "b"]']),
        ("[host]\ntest_command = ['a', 1]\n", ["homeostat.toml:2", "list of texts"]),
        ('[host]\ntest_command = ["a\\u0000"]\n', ["homeostat.toml:2", "null character"]),
        ('[host]\npython = "a\\u0000"\n', ["homeostat.toml:2", "null character"]),
        ("profile = 'staging'\n", ["homeostat.toml:1", "standard"]),
        ("profile = ['dev']\n", ["homeostat.toml:1", "text"]),
        ("[hmr]\nprofile = 'dev'\n", ["homeostat.toml:2", "`hmr.profile`"]),
    ],
    ids=range(33),
)
def test_a_wrong_key_type_or_value_is_refused_and_its_line_named(refused, text, said):
    message = refused(text)
    assert [word for word in said if word not in message] == [], message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("hmr.enabled = true\nhmr . mode = 'x'\n", 2),
        ('"hmr".mode = "x"\n', 1),
        ("['hmr']\n'mode' = 'x'\n", 2),
        ("\nhmr = { enabled = true, mode = 'x' }\n", 2),
        ("\n\n[[hmr]]\nmode = 'safe'\n", 3),
        ("[host]\npython = '''\n[hmr]\nmode = 'x'\n'''\n\n[hmr]\nmode = 'x'\n", 8),
        ("[ hmr ] # comment\n\tmode='x'\n", 2),
        ("[hub]\r\nport = 1\r\n[hmr]\r\nmode = 'x'\r\n", 4),
    ],
    ids=["dotted", "quoted", "quoted table", "inline", "array of tables", "in a text", "spaces", "crlf"],
)
def test_the_line_is_right_however_it_is_written(refused, text, line):
    assert f"homeostat.toml:{line}:" in refused(text)


def test_dotted_keys_and_inline_tables_are_taken(load):
    loaded = load("hmr.enabled = true\nhub = { port = 5 }\n")
    assert loaded.settings.hmr.enabled is True and loaded.settings.hub.port == 5
    assert source_of(loaded, "hub.port") == "homeostat.toml:2"


def test_the_edges_of_a_range_are_inside(load):
    assert load("[hub]\nport = 65535\n[hmr]\ntimeout_s = 300\n").settings.hub.port == 65535
    assert load("[hub]\nport = 0\n[hmr]\ntimeout_s = 0.1\n").settings.hmr.timeout_s == 0.1


@pytest.mark.parametrize(
    ("text", "line"),
    [("[hmr]\nenabled = yes\n", 2), ("[hmr\n", 1), ("a = 1\na = 2\n", 2), ("x = '\n", 1), ("[hmr]\n\n= 1\n", 3)],
    ids=range(5),
)
def test_malformed_toml_is_refused_with_its_line(refused, text, line):
    assert f"line {line}" in refused(text)


def test_a_byte_order_mark_and_windows_line_ends_are_taken(load):
    loaded = load(b"\xef\xbb\xbf[hub]\r\nport = 5\r\n")
    assert loaded.settings.hub.port == 5


@pytest.mark.parametrize(
    "data",
    [b"[hub]\nbind = '\xff'\n", "profile = 'dev'\n".encode("utf-16"), b"[hub]\x00\n"],
    ids=["latin-1", "utf-16", "null"],
)
def test_a_file_that_is_no_utf_8_text_is_refused(refused, data):
    assert "homeostat.toml" in refused(data)


def test_the_line_of_a_byte_that_is_no_text_is_named(refused):
    assert "homeostat.toml:2" in refused(b"[hub]\nbind = '\xff'\n")


def test_a_huge_or_deep_file_is_refused_at_once(refused):
    assert "larger" in refused("# " + "x" * (1 << 20))
    assert "homeostat.toml" in refused("x = " + "[" * 100_000)
    assert "homeostat.toml" in refused("x = " + "{a=" * 20_000)


def test_what_is_not_a_file_is_refused_and_never_waited_for(tmp_path, refused):
    os.mkfifo(tmp_path / FILE_NAME)
    assert "not a file" in refused()
    (tmp_path / FILE_NAME).unlink()
    (tmp_path / FILE_NAME).mkdir()
    assert "not a file" in refused()
    (tmp_path / FILE_NAME).rmdir()
    (tmp_path / FILE_NAME).symlink_to(tmp_path / "nowhere")
    assert "not a file" in refused()


@pytest.mark.parametrize(
    ("variable", "raw"),
    [
        ("HOMEOSTAT_HUB_PORT", ""),
        ("HOMEOSTAT_HUB_PORT", "3001.0"),
        ("HOMEOSTAT_HUB_PORT", "inf"),
        ("HOMEOSTAT_HUB_PORT", "0x10"),
        ("HOMEOSTAT_HUB_PORT", "9" * 5000),
        ("HOMEOSTAT_HMR_TIMEOUT_S", "nan"),
        ("HOMEOSTAT_HMR_TIMEOUT_S", "1e999"),
        ("HOMEOSTAT_HMR_ENABLED", "maybe"),
        ("AETHERRA_HMR_ENABLED", "2"),
        ("AETHERRA_PROFILE", "staging"),
        ("HOMEOSTAT_HUB_BIND", "0.0.0.0"),
    ],
    ids=range(11),
)
def test_a_wrong_value_in_a_variable_names_the_variable(refused, variable, raw):
    assert refused(**{variable: raw}).startswith(f"{variable}: ")


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet="[]{}=.\"'#\\ \n\t\r_-0159aehmrux\ufeff\x00", max_size=60))
def test_any_file_is_read_or_refused_in_our_words(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("any", numbered=True)
    (folder / FILE_NAME).write_text(text, encoding="utf-8", newline="")
    try:
        loaded = load_settings(folder, {})
    except InvalidInput as error:
        assert error.code == "bad-setting" and error.message.startswith("homeostat.toml")
    else:
        assert loaded.settings == Settings()


def test_the_source_documents_keys_of_self_improvement_mean_ours(tmp_path):
    (tmp_path / "homeostat.toml").write_text("[self_improvement]\nhmr_enabled = true\nhmr_mode = 'aggressive'\n")
    loaded = load_settings(tmp_path, {})
    assert loaded.settings.hmr.enabled is True and loaded.settings.hmr.mode.value == "aggressive"
    assert next(item.source for item in loaded.origins if item.name == "hmr.enabled") == "homeostat.toml:2"


def test_a_setting_that_is_there_under_both_names_is_an_error(tmp_path):
    (tmp_path / "homeostat.toml").write_text("[hmr]\nenabled = true\n[self_improvement]\nhmr_enabled = false\n")
    with pytest.raises(InvalidInput, match=r"toml:4.*same setting"):
        load_settings(tmp_path, {})


QUERY = '[[detectors.prometheus]]\nname = "queue"\nquery = "sum(q)"\nabove = 10\n'
ASKED = '[detectors]\nprometheus_url = "http://127.0.0.1:9090"\n'


def test_queries_to_prometheus_are_a_list_of_tables(load):
    second = '[[detectors.prometheus]]\nname = "stock"\nquery = "s"\nbelow = 2\nfor_s = 30\nsilence_is_harm = true\n'
    found = load(f"{ASKED}{QUERY}{second}")
    assert found.settings.detectors.prometheus == (
        PrometheusQuery(name="queue", query="sum(q)", above=10.0),
        PrometheusQuery(name="stock", query="s", below=2.0, for_s=30.0, silence_is_harm=True),
    )
    assert source_of(found, "detectors.prometheus") == "homeostat.toml:3"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (QUERY, "needs `detectors.prometheus_url`"),
        (f'{ASKED}prometheus = "sum(q)"\n', "list of tables"),
        (f"{ASKED}prometheus = [1]\n", "list of tables"),
        (f"{ASKED}[detectors.prometheus]\nname = 'x'\n", "list of tables"),
        (f"{ASKED}{QUERY}{QUERY}", "two queries of one name"),
        (f"{ASKED}{QUERY}above_all = 3\n", "has no `above_all`"),
        (f"{ASKED}{QUERY}for_s = -1\n", "`for_s` that must be from 0"),
        (f"{ASKED}{QUERY}for_s = nan\n", "`for_s` that must be a finite number"),
        (f"{ASKED}{QUERY}silence_is_harm = 1\n", "must be true or false"),
        (ASKED + QUERY.replace("above = 10\n", ""), "`above` or `below`"),
        (ASKED + QUERY.replace("above = 10\n", "above = 'x'\n"), "must be a number"),
        (ASKED + QUERY.replace('"sum(q)"', '""'), "needs of each query"),
        (ASKED + "".join(QUERY.replace("queue", f"q{number}") for number in range(11)), "at most 10"),
    ],
)
def test_a_query_that_could_not_be_asked_is_refused_with_its_line(refused, text, told):
    message = refused(text)
    assert told in message and message.startswith("homeostat.toml:")


@pytest.mark.parametrize("address", ["127.0.0.1:9090", "file:///etc/passwd", "http://", "http://[::1", "http://x:0"])
def test_an_address_of_prometheus_is_one_of_http(refused, address):
    assert "must be an address" in refused(f'[detectors]\nprometheus_url = "{address}"\n')


def test_queries_are_not_read_from_a_variable(refused):
    assert "homeostat.toml only" in refused(HOMEOSTAT_DETECTORS_PROMETHEUS="sum(q)")
