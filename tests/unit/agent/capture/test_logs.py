"""Log records of WARNING and above, from every logger, whatever the host does with its logging."""

import logging
import logging.config
import logging.handlers
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator

import pytest
from homeostat_agent.capture.observer import MAX_PER_SECOND, MAX_PER_SITE


class Silent(logging.Handler):
    """Keeps what it was given, so that nothing reaches the terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def handle(self, record: logging.LogRecord) -> bool:
        self.records.append(record)
        return True


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    logger = logging.Logger("shop.orders")
    logger.addHandler(Silent())
    yield logger
    logger.handlers.clear()


def test_only_warning_and_above_is_captured(captured, log):
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    log.critical("e")
    seen = [(item.message, item.severity_text, item.severity_number) for item in captured.occurrences()]
    assert seen == [("c", "WARNING", 13), ("d", "ERROR", 17), ("e", "CRITICAL", 21)]
    assert captured.capture.vitals()["errors_logged"] == 2
    assert captured.capture.vitals()["errors_logged"] == 0


def test_a_level_of_the_hosts_own_counts_by_its_number(captured, log):
    log.log(35, "notable")
    log.log(45, "bad")
    log.log(60, "worse")
    assert [item.severity_number for item in captured.occurrences()] == [13, 17, 21]


def test_a_logger_that_does_not_propagate_and_has_no_handler_is_captured(captured):
    logger = logging.getLogger("captured.alone")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    logger.warning("alone")
    assert [item.logger for item in captured.occurrences()] == ["captured.alone"]


def test_what_the_host_has_switched_off_is_not_captured(captured, log):
    log.setLevel(logging.CRITICAL)
    log.error("too quiet")
    log.setLevel(logging.DEBUG)
    log.addFilter(lambda record: "secret" not in str(record.msg))
    log.error("secret")
    log.disabled = True
    log.error("disabled")
    assert captured.occurrences() == []


def test_dict_config_after_the_installation_changes_nothing(captured):
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"null": {"class": "logging.NullHandler"}},
            "loggers": {"captured.configured": {"handlers": ["null"], "propagate": False, "level": "WARNING"}},
        }
    )
    logging.getLogger("captured.configured").error("still here")
    assert [item.message for item in captured.occurrences()] == ["still here"]


def test_our_own_loggers_are_left_out_and_their_namesakes_are_not(captured):
    for name in ("homeostat_agent", "homeostat_agent.sender", "homeostat_agents"):
        logger = logging.Logger(name)
        logger.addHandler(Silent())
        logger.error("x")
    assert [item.logger for item in captured.occurrences()] == ["homeostat_agents"]


def test_messages_are_cleaned_and_bounded(captured, log):
    log.warning("mail to %s failed", "ann@customer.example")
    log.warning("%s", "word " * 2_000)
    cleaned, long = captured.occurrences()
    assert "ann" not in cleaned.message
    assert cleaned.message.startswith("mail to ")
    assert len(long.message) == 2_000


def test_exception_and_its_message_are_cleaned(captured, log):
    try:
        raise ValueError("no price for ann@customer.example")
    except ValueError:
        log.exception("pricing failed")
    (item,) = captured.occurrences()
    assert item.exception_type == "ValueError"
    assert item.exception_message.startswith("no price for ")
    assert "customer" not in repr(item)
    assert item.message == "pricing failed"


def refuse() -> None:
    raise KeyError("colour")


@pytest.mark.parametrize("told", ["%s", "Exception: %s", "KeyError"])
def test_an_exception_that_is_told_in_words_while_it_is_handled_is_the_exception_itself(captured, log, told):
    namespace: dict[str, Callable[[], None]] = {}
    source = "def refuse():\n    raise KeyError('colour')\n"
    exec(compile(source, str(captured.repository / "colours.py"), "exec"), namespace)
    try:
        namespace["refuse"]()
    except KeyError as error:
        log.error(told.replace("%s", str(error)))
        log.error("%s", traceback.format_exc())
    (item,) = captured.occurrences()
    assert item.exception_type == "KeyError"
    assert (item.location.path, item.location.line, item.location.function) == ("colours.py", 2, "refuse")


def test_a_record_about_something_else_in_a_handler_does_not_become_the_exception(captured, log):
    try:
        refuse()
    except KeyError:
        log.error("the cache is full")
    log.error("colour")
    seen = [(item.exception_type, item.message) for item in captured.occurrences()]
    assert seen == [("", "the cache is full"), ("", "colour")]


def test_a_warning_about_an_exception_that_was_mended_stays_a_warning_in_words(captured, log):
    try:
        refuse()
    except KeyError as error:
        log.warning("went on without %s", error)
    (item,) = captured.occurrences()
    assert (item.exception_type, item.severity_text) == ("", "WARNING")


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_an_argument_whose_str_raises_leaves_the_template(captured, log):
    log.error("order of %s failed", Unspeakable())
    log.error("wrong %d", "number of arguments", 3)
    log.error(Unspeakable())
    assert [item.message for item in captured.occurrences()] == ["order of %s failed", "wrong %d", "Unspeakable"]
    assert captured.capture.failures.as_dict() == {}


def test_an_exception_that_cannot_say_its_message_still_counts(captured, log):
    try:
        raise UnspeakableError
    except UnspeakableError:
        log.exception("broken")
    (item,) = captured.occurrences()
    assert item.exception_type.endswith(".UnspeakableError")
    assert item.exception_message == ""


def test_a_str_that_logs_does_not_recurse(captured, log):
    class Chatty:
        def __str__(self) -> str:
            log.error("%s", self)
            return "chatty"

    log.error("%s", Chatty())
    assert [item.message for item in captured.occurrences()] == ["chatty"]
    assert captured.capture.failures.as_dict() == {"nested-log": 1}
    assert captured.capture.vitals()["dropped"] == 1


def test_the_hosts_handlers_see_the_same_record_untouched(captured, log):
    handler = log.handlers[0]
    assert isinstance(handler, Silent)
    try:
        raise KeyError("x")
    except KeyError as error:
        log.exception("lost %s", "y")
        expected = error
    (record,) = handler.records
    assert record.msg == "lost %s"
    assert record.args == ("y",)
    assert record.exc_info is not None
    assert record.exc_info[1] is expected
    assert record.exc_text is None
    assert not [name for name in vars(record) if "homeostat" in name]


def test_a_handler_of_the_host_that_raises_raises_as_before(captured, log):
    class Broken(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise LookupError("the host's own")

    log.addHandler(Broken())
    with pytest.raises(LookupError):
        log.error("x")
    assert [item.message for item in captured.occurrences()] == ["x"]


def test_a_record_of_nonsense_is_counted_as_a_failure_and_reaches_the_host(captured, log):
    record = logging.makeLogRecord({"name": 7, "levelno": 40, "msg": "x"})
    log.handle(record)
    odd = logging.makeLogRecord({"name": "x", "levelno": 40, "msg": "x", "pathname": []})
    log.handle(odd)
    assert log.handlers[0].records == [record, odd]  # type: ignore[attr-defined]
    assert captured.occurrences() == []
    assert captured.capture.failures.as_dict() == {"log": 2}


def test_a_queue_handler_does_not_make_a_record_count_twice(captured, log):
    passing: queue.Queue[logging.LogRecord] = queue.Queue()
    log.handlers[:] = [logging.handlers.QueueHandler(passing)]
    listener = logging.handlers.QueueListener(passing, Silent())
    listener.start()
    log.error("once")
    listener.stop()
    assert [item.message for item in captured.occurrences()] == ["once"]


def test_an_exception_without_a_traceback_is_still_known(captured, log):
    log.error("prepared", exc_info=KeyError("k"))
    log.error("none", exc_info=True)
    prepared, none = captured.occurrences()
    assert (prepared.exception_type, prepared.trace) == ("KeyError", ())
    assert (none.exception_type, none.message) == ("", "none")


def test_a_flood_from_one_place_leaves_room_for_another(captured, log):
    for number in range(MAX_PER_SITE * 2):
        log.error("flood %d", number)
    log.error("rare")
    items = captured.occurrences()
    assert items[-1].message == "rare"
    assert len(items) <= MAX_PER_SECOND
    failures = captured.capture.failures.as_dict()
    vitals = captured.capture.vitals()
    assert len(items) + failures.get("flood", 0) == MAX_PER_SITE * 2 + 1
    assert vitals["errors_logged"] == MAX_PER_SITE * 2 + 1, "what is not sent is counted all the same"
    assert vitals["dropped"] == failures.get("flood", 0)


def test_many_threads_log_at_once_and_nothing_is_lost(captured, log):
    def work(name: str) -> None:
        for _ in range(40):
            log.warning("from %s", name)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(f"worker {index}",)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert len(captured.occurrences()) + captured.capture.failures.as_dict().get("flood", 0) == 320


def test_an_interrupt_in_the_middle_passes_through(captured, log):
    class Interrupting:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        log.error("%s", Interrupting())
    log.error("after it")
    assert [item.message for item in captured.occurrences()] == ["after it"]


def test_near_the_recursion_limit_the_host_is_no_worse_off(captured, log):
    def dive(depth: int) -> int:
        try:
            return dive(depth + 1)
        except RecursionError:
            log.warning("too deep")
            raise

    with pytest.raises(RecursionError):
        dive(0)
    log.warning("alive")
    assert captured.occurrences()[-1].message == "alive"
