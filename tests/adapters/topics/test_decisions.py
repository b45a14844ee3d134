"""What topics decide without I/O: names, histories, gaps, backlogs, and the order of a feed.

The feed is played against an engine that loses live messages, repeats them, trims, and loses its history, in
any order of events.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.topics import START, Entry, Gap, Position, Retention, Window
from adapters.topics.backlog import Backlog, check_policy
from adapters.topics.feed import MOST_HELD, Feed
from adapters.topics.history import History, missed
from adapters.topics.patterns import check_name, check_topic, is_pattern, pattern_matches

# Names


@pytest.mark.parametrize("name", ["a", "room.1", "User-7.inbox", "ä.ö", "a" * 200])
def test_topics(name: str) -> None:
    assert check_topic(name) == check_name(name) == name
    assert not is_pattern(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "a.", ".a", "a..b", "a b", "a*", "a?", "a[b]", "{a}", "a\n", "a>", "a\\", "a" * 201, "\x7f"],
)
def test_no_topics(name: str) -> None:
    with pytest.raises(ValueError, match="topic"):
        check_topic(name)
    with pytest.raises(ValueError, match="topic"):
        check_name(name)


def test_names_are_texts() -> None:
    with pytest.raises(TypeError):
        check_name(b"room")


@pytest.mark.parametrize(
    ("pattern", "topics", "others"),
    [
        ("room.*", ["room.1"], ["room", "room.1.2", "rooms.1"]),
        ("*.news", ["a.news"], ["news", "a.b.news"]),
        ("**", ["a", "a.b.c"], []),
        ("a.**", ["a.b", "a.b.c"], ["a", "b.a"]),
        ("*.**", ["a.b", "a.b.c"], ["a"]),
    ],
)
def test_patterns(pattern: str, topics: list[str], others: list[str]) -> None:
    assert check_name(pattern) == pattern
    assert is_pattern(pattern)
    with pytest.raises(ValueError, match="points"):
        check_topic(pattern)
    assert [each for each in [*topics, *others] if pattern_matches(pattern, each)] == topics


@pytest.mark.parametrize("name", ["**.a", "a.**.b", "a*.b", "***"])
def test_no_patterns(name: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        check_name(name)


# Positions


@given(st.from_regex("[0-9a-zA-Z_-]{0,64}", fullmatch=True), st.integers(0, 10**18 - 1))
def test_position_as_text(epoch: str, offset: int) -> None:
    position = Position(epoch, offset)
    assert Position.parse(str(position)) == position


@pytest.mark.parametrize(
    "text", ["", "a", "a:", ":b", "a:-1", "a:1:2", "a: 1", "a:1\n", "ä:1", "a:" + "1" * 19]
)
def test_no_position(text: str) -> None:
    with pytest.raises(ValueError, match="position"):
        Position.parse(text)


def test_count_of_a_gap() -> None:
    assert Gap("a", "slow", Position("e", 3), Position("e", 5)).count == 2
    assert Gap("a", "lost", Position("e", 3), Position("f", 5)).count is None
    assert Gap("a", "disconnected").count is None


# Histories


def test_retention_is_checked() -> None:
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="entries"):
            Retention(wrong)
    with pytest.raises(ValueError, match="seconds"):
        Retention(1, seconds=0)
    for none in (None, "1", True):
        with pytest.raises(TypeError):
            Retention(none)  # type: ignore[arg-type]


def numbers(entries: Sequence[Entry]) -> list[int]:
    return [entry.position.offset for entry in entries if entry.position is not None]


def test_history_trims_by_entries_and_by_seconds() -> None:
    history = History("a", Retention(3, seconds=10), "e")
    for now in range(5):
        history.append(str(now), now)
    assert len(history) == 3
    assert history.window(START, 4) == (("e", 5), history.window(Position("e", 2), 4).entries)
    assert numbers(history.window(START, 4).entries) == [3, 4, 5]
    assert numbers(history.window(Position("e", 4), 4).entries) == [5]
    assert numbers(history.window(Position("e", 5), 4).entries) == []
    assert history.window(None, 4) == (("e", 5), ())
    # The message of the time 3 has an age of 10 seconds.
    assert numbers(history.window(START, 13).entries) == [5]
    assert history.window(START, 14) == (("e", 5), ())


def test_history_with_a_clock_that_jumps() -> None:
    history = History("a", Retention(100, seconds=10), "e")
    for now in (1000, 5, 6, 2000, 7):
        history.append("", now)
    # Messages are kept for too long, or not long enough, and the offsets tell.
    gap, entries = missed("a", Position("e", 1), history.window(Position("e", 1), 8))
    assert gap == Gap("a", "trimmed", Position("e", 1), Position("e", 3))
    assert numbers(entries) == [4, 5]


def test_what_was_missed() -> None:
    history = History("a", Retention(3), "e")
    for now in range(5):
        history.append(str(now), now)

    def told(after: Position | None) -> tuple[Any, list[int]]:
        gap, entries = missed("a", after, history.window(after, 9))
        return gap and (gap.reason, gap.after, gap.until, gap.count), numbers(entries)

    assert told(None) == (None, [])
    assert told(START) == (None, [3, 4, 5])
    assert told(Position("e", 5)) == (None, [])
    assert told(Position("e", 3)) == (None, [4, 5])
    assert told(Position("e", 2)) == (None, [3, 4, 5])
    assert told(Position("e", 0)) == (("trimmed", ("e", 0), ("e", 2), 2), [3, 4, 5])
    assert told(Position("d", 4)) == (("lost", ("d", 4), ("e", 2), None), [3, 4, 5])
    assert told(Position("e", 6)) == (("lost", ("e", 6), ("e", 2), -4), [3, 4, 5])
    empty = Window(Position("e", 5), ())
    assert missed("a", Position("e", 3), empty)[0] == Gap("a", "trimmed", Position("e", 3), Position("e", 5))


# Backlogs


def play(policy: Any, limit: int | None, script: str, *, positions: bool = True) -> tuple[list[Any], Backlog]:
    """Add live messages 1, 2 and so on for "+", send for "-"; return what was sent, gaps as pairs."""
    backlog = Backlog(policy, limit)
    sent: list[Any] = []
    number = 0

    def send() -> None:
        item = backlog.first
        backlog.pop()
        if isinstance(item, Gap):
            assert item.reason == "slow"
            assert item.after is not None
            assert item.until is not None
            sent.append((item.after.offset, item.until.offset))
        else:
            sent.append(int(item.message))

    for step in script:
        if step == "+":
            number += 1
            position = Position("e", number) if positions else None
            if not backlog.add(Entry("a", str(number), position)):
                sent.append("closed")
                return sent, backlog
        elif backlog:
            send()
    while backlog:
        send()
    return sent, backlog


@pytest.mark.parametrize(
    ("policy", "sent"),
    [
        ("skip", [1, 2, (2, 5), 6]),
        ("oldest", [(0, 3), 4, 5, 6]),
        ("latest", [(0, 4), 5, 6]),
        ("close", ["closed"]),
    ],
)
def test_policies(policy: Any, sent: list[Any]) -> None:
    assert play(policy, 2, "+++++---+")[0] == sent


def test_policies_without_positions() -> None:
    sent, backlog = play("skip", 2, "+++++---+", positions=False)
    assert sent == [1, 2, 6]
    assert backlog.dropped == 3
    assert play("oldest", 2, "+++++", positions=False)[0] == [4, 5]


def test_no_limit() -> None:
    assert play("close", None, "+" * 500)[0] == list(range(1, 501))


def test_unknown_policy() -> None:
    with pytest.raises(ValueError, match="'oldest'"):
        check_policy("wait")


@given(
    st.sampled_from(["skip", "oldest", "latest"]),
    st.integers(1, 4),
    st.text(st.sampled_from("+-"), max_size=30),
)
def test_each_message_is_sent_or_in_a_gap(policy: Any, limit: int, script: str) -> None:
    sent, backlog = play(policy, limit, script)
    last = dropped = 0
    for item in sent:
        if isinstance(item, int):
            assert item == last + 1
            last = item
        else:
            assert item[0] == last
            assert item[1] > last
            dropped += item[1] - last
            last = item[1]
    assert last == script.count("+")
    assert dropped == backlog.dropped


@given(st.sampled_from(["skip", "oldest", "close"]), st.integers(0, 5), st.integers(0, 8), st.integers(1, 3))
def test_replay_takes_no_room_of_live_messages(policy: Any, replayed: int, live: int, limit: int) -> None:
    backlog = Backlog(policy, limit)
    gap = Gap("a", "trimmed", Position("e", 0), Position("e", 10))
    backlog.replay(gap, [Entry("a", "", Position("e", 11 + each)) for each in range(replayed)])
    fits = True
    for each in range(live):
        fits = fits and backlog.add(Entry("a", "", Position("e", 11 + replayed + each)))
    assert fits is (policy != "close" or live <= limit)
    position = 0
    while fits and backlog:
        item = backlog.first
        backlog.pop()
        if isinstance(item, Gap):
            assert item.after == ("e", position)
            assert item.until is not None
            position = item.until.offset
        else:
            position += 1
            assert item.position == ("e", position)
    assert not fits or position == 10 + replayed + live


def test_resuming_by_the_policy_latest() -> None:
    backlog = Backlog("latest", 5)
    backlog.replay(None, [Entry("a", str(each), Position("e", each)) for each in range(1, 4)])
    assert backlog.first == Gap("a", "slow", Position("e", 0), Position("e", 2))
    backlog.pop()
    assert isinstance(backlog.first, Entry)
    assert backlog.first.message == "3"
    assert len(backlog) == 1


@pytest.mark.parametrize("end", ["never used", "sent", "cleared"])
def test_empty_backlogs_take_little_memory(end: str) -> None:
    def make() -> Backlog:
        backlog = Backlog("skip", 128)
        if end != "never used":
            backlog.add(Entry("a", "x", None))
            backlog.pop() if end == "sent" else backlog.clear()
        assert not backlog
        return backlog

    make()
    count = 1000
    tracemalloc.start()
    try:
        backlogs = [make() for _ in range(count)]
        # An empty deque takes more than 700 bytes.
        assert tracemalloc.get_traced_memory()[0] / count < 200
    finally:
        tracemalloc.stop()
    # They are apart all the same.
    backlogs[0].add(Entry("a", "x", None))
    assert len(backlogs[0]) == 1
    assert not any(backlogs[1:])


# Feeds


class Subscriber:
    """Checks that it gets each message once and in order, or is told of a gap."""

    def __init__(self, position: Position | None) -> None:
        self.position = position
        self.begun = False
        self.got: set[Position] = set()

    def begin(self, position: Position | None, gap: Gap | None, entries: Sequence[Entry]) -> None:
        assert not self.begun
        self.begun = True
        if self.position is None:
            assert gap is None
            assert not entries
            self.position = position
            return
        if gap is not None:
            self.tell(gap)
        elif self.position == START and position is not None:
            # Whatever there is.
            first = entries[0].position if entries else None
            self.position = position if first is None else first.previous
        for entry in entries:
            self.take(entry)
        assert self.position == position

    def take(self, entry: Entry) -> None:
        assert self.position is not None
        assert entry.position == (self.position.epoch, self.position.offset + 1)
        assert entry.position not in self.got
        self.got.add(entry.position)
        self.position = entry.position

    def tell(self, gap: Gap) -> None:
        assert gap.after == self.position
        assert gap.until is not None
        if gap.reason == "lost":
            assert gap.after is None or gap.after.epoch != gap.until.epoch
        else:
            assert gap.count is not None
            assert gap.count > 0
        self.position = gap.until


class Engine:
    """A history in virtual time, live messages on their way, and one process with a feed."""

    def __init__(self, entries: int) -> None:
        self.epochs = 0
        self.retention = Retention(entries)
        self.history = History("a", self.retention, "e0")
        self.seen = [Position("e0", 0)]
        self.way: list[Entry] = []
        self.members: list[Subscriber] = []
        self.feed: Feed[Subscriber] = Feed("a", resumable=True, deliver=self.deliver, tell=self.tell)
        self.question: tuple[Position | None] | None = None
        self.answer: Window | None = None

    def begun(self) -> list[Subscriber]:
        return [member for member in self.members if member.begun]

    def deliver(self, entry: Entry) -> None:
        for member in self.begun():
            member.take(entry)

    def tell(self, gap: Gap) -> None:
        for member in self.begun():
            member.tell(gap)

    def step(self, step: str, number: int) -> None:
        match step:
            case "publish":
                self.way.append(self.history.append("", 0))
                self.seen.append(self.history.latest)
            case "receive" if self.way:
                self.feed.received(self.way.pop(0))
            case "repeat" if self.way:
                self.feed.received(self.way[0])
            case "miss" if self.way:
                del self.way[0]
            case "lose":
                # The engine is gone, and with it all that was on its way.
                self.epochs += 1
                self.history = History("a", self.retention, f"e{self.epochs}")
                self.way = []
                self.feed.disconnected()
            case "disconnect":
                self.way = []
                self.feed.disconnected()
            case "join":
                choices: list[Position | None] = [None, START, *self.seen]
                member = Subscriber(choices[number % len(choices)])
                self.members.append(member)
                self.feed.join(member, member.position)
            case "leave" if self.members:
                self.feed.leave(self.members.pop(number % len(self.members)))
            case "ask" if self.feed.needs_read:
                self.question, self.answer = (self.feed.begin_read(),), None
            case "look" if self.question is not None and self.answer is None:
                self.answer = self.history.window(self.question[0], 0)
            case "answer" if self.question is not None and self.answer is not None:
                self.question = None
                self.feed.finish_read(self.answer)
            case "fail" if self.question is not None:
                self.question = None
                self.feed.failed_read()

    def finish(self) -> None:
        """No more failures: all that was published is delivered, or found by reads."""
        while self.way:
            self.step("receive", 0)
        rounds = 0
        while self.question is not None or self.feed.needs_read:
            for step in ("ask", "look", "answer"):
                self.step(step, 0)
            rounds += 1
            assert rounds < 10


STEPS = [
    *("publish", "publish", "publish", "receive", "receive", "receive", "repeat", "miss", "lose"),
    *("disconnect", "join", "join", "leave", "ask", "ask", "look", "look", "answer", "answer", "fail"),
]


def play_feed(entries: int, steps: Sequence[tuple[str, int]]) -> None:
    engine = Engine(entries)
    for step, number in steps:
        engine.step(step, number)
    engine.finish()
    if "miss" in [step for step, _ in steps]:
        # Missed live messages are found by the next one at the latest.
        for step in ("publish", "receive"):
            engine.step(step, 0)
        engine.finish()
    for member in engine.members:
        assert member.begun
        assert member.position == engine.history.latest


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 50)), min_size=10, max_size=60),
)
def test_each_message_once_and_in_order_or_a_gap(entries: int, steps: list[tuple[str, int]]) -> None:
    play_feed(entries, steps)


def test_each_message_once_and_in_order_or_a_gap_by_seeds() -> None:
    for seed in range(1000):
        random = Random(seed)
        choices = STEPS if seed % 2 else [step for step in STEPS if step != "miss"]
        steps = [(random.choice(choices), random.randrange(50)) for _ in range(80)]
        try:
            play_feed(random.choice((1, 2, 4, 50)), steps)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


def test_one_read_serves_all_that_wait() -> None:
    engine = Engine(100)
    for _ in range(50):
        engine.step("publish", 0)
    for number in range(20_000):
        engine.step("join", number)
    reads = 0
    while engine.feed.needs_read:
        for step in ("ask", "look", "answer"):
            engine.step(step, 0)
        reads += 1
    assert reads == 1
    assert {member.position for member in engine.members} == {engine.history.latest}


def test_one_read_for_members_with_several_epochs() -> None:
    engine = Engine(100)
    for _ in range(3):
        engine.step("publish", 0)
    engine.feed.join(Subscriber(Position("e0", 2)), Position("e0", 2))
    engine.feed.join(Subscriber(Position("old", 2)), Position("old", 2))
    assert engine.feed.begin_read() == START


def test_engine_that_forgets_the_end_but_not_the_epoch() -> None:
    engine = Engine(100)
    for _ in range(5):
        engine.step("publish", 0)
    engine.step("join", 0)
    engine.finish()
    engine.history.latest = Position("e0", 3)
    engine.feed.disconnected()
    told: list[Gap] = []
    engine.members[0].tell = told.append  # type: ignore[method-assign]
    engine.feed.begin_read()
    engine.feed.finish_read(Window(Position("e0", 3), ()))
    assert told == [Gap("a", "lost", Position("e0", 5), Position("e0", 3))]
    assert engine.feed.position == ("e0", 3)


def test_engine_that_has_lost_single_messages() -> None:
    engine = Engine(100)
    engine.step("join", 0)
    engine.finish()
    assert engine.members[0].position == ("e0", 0)
    engine.feed.received(Entry("a", "", Position("e0", 3)))
    assert engine.feed.needs_read
    engine.feed.begin_read()
    # The history has none of the three: what was held back is delivered, after a gap.
    engine.members[0].tell = lambda gap: setattr(engine.members[0], "position", gap.until)  # type: ignore[method-assign]
    engine.feed.finish_read(Window(Position("e0", 0), ()))
    assert engine.members[0].position == ("e0", 3)
    assert not engine.feed.needs_read


def test_messages_that_are_held_back_are_limited() -> None:
    engine = Engine(10 * MOST_HELD)
    engine.step("join", 0)
    engine.finish()
    engine.step("publish", 0)
    engine.step("miss", 0)
    for _ in range(3 * MOST_HELD):
        engine.step("publish", 0)
        engine.step("receive", 0)
    assert len(engine.feed._held) == MOST_HELD
    engine.step("ask", 0)
    for _ in range(MOST_HELD):
        engine.step("publish", 0)
        engine.step("receive", 0)
    engine.finish()
    assert engine.members[0].position == engine.history.latest == ("e0", 4 * MOST_HELD + 1)


def test_topics_without_history() -> None:
    told: list[object] = []
    feed: Feed[Subscriber] = Feed("a", resumable=False, deliver=told.append, tell=told.append)
    member = Subscriber(None)
    feed.join(member, None)
    assert member.begun
    entry = Entry("a", "", None)
    feed.received(entry)
    feed.disconnected()
    assert told == [entry, Gap("a", "disconnected")]
    assert not feed.needs_read
    resuming = Subscriber(Position("e", 4))
    gaps: list[Gap | None] = []
    resuming.begin = lambda position, gap, entries: gaps.append(gap)  # type: ignore[method-assign]
    feed.join(resuming, Position("e", 4))
    assert gaps == [Gap("a", "lost", Position("e", 4))]
