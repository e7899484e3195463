"""Replies of a runner: of the form that was asked for, or refused when they arrive."""

import json

import pytest

from edgeopt.targets.replies import MOST_BYTES, Noise, ReplyFormError, TimedBlocks, Told, UnreadableReply, parse_reply

NOISE = {"wall_s": 0.1, "own_cpu_s": 0.1, "others_cores": None, "steal_share": None, "involuntary_switches": 0}
STATE = {"frequency_mhz": None, "temperature_c": None, "throttle_events": None, "energy_uj": None}
SAMPLE = {"do": "sample", "blocks": [["net", 0, 2]]}


def line(**reply) -> bytes:
    return json.dumps(reply).encode()


def sampled(**changes):
    return {"blocks": [["net", [1.0, 2.0]]], "noise": NOISE, "state": STATE, **changes}


def test_a_reply_of_the_right_form_becomes_its_type_whatever_else_is_in_it():
    found = parse_reply(line(ok=sampled(more="x")), SAMPLE)
    assert isinstance(found, TimedBlocks) and found.blocks == [("net", [1.0, 2.0])]
    assert found.noise == Noise(0.1, 0.1, None, None, 0)


def test_a_request_without_a_form_is_answered_by_what_came():
    assert parse_reply(line(ok={"closed": True}), {"do": "close"}) == {"closed": True}


def test_an_error_has_its_kind_and_message():
    assert parse_reply(line(error={"kind": "model", "message": "no"}), SAMPLE) == Told("model", "no")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"Segmentation fault", "unreadable reply b'Segmentation fault'"),
        (b"\xff\xfe", "unreadable reply"),
        (b'{"ok": NaN}', "unreadable reply"),
        (b"[" * 100_000, "unreadable reply"),
        (b" " * (MOST_BYTES + 1), "more than 64 MiB"),
    ],
)
def test_a_line_that_is_no_reply_is_unreadable(raw, message):
    with pytest.raises(UnreadableReply, match=message):
        parse_reply(raw, SAMPLE)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ({"done": 1}, "neither 'ok' nor 'error'"),
        ({"ok": sampled(blocks=[["net", []]])}, r"reply to 'sample', blocks\.0"),
        ({"ok": sampled(blocks=[["net", [-1.0]]])}, r"reply to 'sample', blocks\.0"),
        ({"ok": sampled(blocks=[["net", ["1"]]])}, r"reply to 'sample', blocks\.0"),
        ({"ok": sampled(blocks=[["other", [1.0]]])}, "times of 'other', which was not requested"),
        ({"ok": sampled(noise={})}, r"reply to 'sample', noise\.wall_s: Field required"),
        ({"error": {"kind": "model"}}, "error, message: Field required"),
    ],
)
def test_a_reply_of_another_form_names_the_field(reply, message):
    with pytest.raises(ReplyFormError, match=message):
        parse_reply(line(**reply), SAMPLE)
