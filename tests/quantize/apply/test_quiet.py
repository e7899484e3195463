"""Silence while a library runs, and the logger as it was afterwards."""

import logging

from edgeopt.quantize.apply.quiet import quiet


def test_the_root_logger_and_stdout_are_silent_inside_and_as_before_outside(capsys, caplog):
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    with quiet():
        print("noise")
        root.addHandler(logging.NullHandler())
        root.warning("more noise")
    assert (root.level, root.handlers) == (level, handlers)
    root.warning("afterwards")
    assert capsys.readouterr().out == "" and [record.message for record in caplog.records] == ["afterwards"]


def test_it_is_as_before_after_an_error_too():
    level = logging.getLogger().level
    try:
        with quiet():
            raise KeyError
    except KeyError:
        pass
    assert logging.getLogger().level == level
