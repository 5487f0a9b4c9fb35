"""What `conceptry up` says of each event."""

from datetime import UTC, datetime
from typing import Any

import pytest

from local.event_lines import LONGEST, PROBLEMS, WORDS, EventLine, event_line
from tasks.events import EVENTS, INSTALLATION_EVENTS

MOMENT = datetime(2026, 11, 30, 14, 5, 6, tzinfo=UTC)
HUB = "http://127.0.0.1:4280"


def line_of(name: str, **payload: Any) -> EventLine:
    line = event_line(f"conceptry.concept.{name}", {"concept": "my-cat", **payload}, MOMENT, "http://run")
    assert line is not None
    return line


def test_every_event_has_words() -> None:
    assert set(WORDS) == set(EVENTS) | set(INSTALLATION_EVENTS)
    assert set(WORDS) >= PROBLEMS


@pytest.mark.parametrize(
    ("name", "payload", "words", "address"),
    [
        ("training", {"retrain": None}, "training started", "http://run"),
        ("training", {"retrain": "2026-11-01"}, "retraining of 2026-11-01 started", "http://run"),
        ("published", {"version": "v2", "model": f"{HUB}/local/my-cat"}, "v2 published; it passed its gate",
         f"{HUB}/local/my-cat/tree/v2"),
        ("rejected", {"version": "v2", "cause": ["no better", "by far"]},
         "v2 published; its gate rejected it: no better; by far", ""),
        ("released", {"version": "v2", "cause": "x", "space": f"{HUB}/spaces/local/my-cat"}, "v2 released",
         f"{HUB}/spaces/local/my-cat"),
        ("waiting", {"cause": "3 images\nare missing"}, "waits: 3 images are missing", ""),
        ("degraded", {}, "needs you", ""),
    ],
)  # fmt: skip
def test_a_line_says_what_happened_and_where(name: str, payload: dict[str, Any], words: str, address: str) -> None:
    line = line_of(name, **payload)
    assert (line.concept, line.words, line.address) == ("my-cat", words, address)
    text = line.text().plain
    assert text.startswith(f"{MOMENT.astimezone():%H:%M:%S}  my-cat")
    assert text.endswith(address or words)


def test_a_long_cause_is_shortened_and_markup_is_not_read() -> None:
    line = line_of("failed", cause="[bold]" + "x" * 1000)
    assert line.problem
    assert len(line.words) < LONGEST + 40
    assert "[bold]" in line.text().plain


def test_other_events_have_no_line() -> None:
    assert event_line("conceptry.git.pushed", {}, MOMENT) is None
    assert event_line("prefect.flow-run.Completed", {}, MOMENT) is None
