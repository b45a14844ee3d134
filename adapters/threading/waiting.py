"""What threads wait for: the lock of a connection, its socket, and each other.

Python runs signal handlers in the main thread, between two instructions, wherever that thread is. A
handler may call the methods of a connection, and it may raise, as Ctrl-C does. Therefore:

1. Whatever is done with a connection's lock is done by :meth:`Guarded._locked`, which knows three
   conditions. FREE: nobody is at work. BUSY: somebody is; if that is the same thread, a signal handler
   has interrupted it, and what the handler asks for is done when the thread has left the lock. BROKEN:
   an exception came in the middle of a change. It cannot be known then what the state machine has done
   and which bytes have gone, so that the stream is closed, and never written to again.
2. The lock is taken by ``with`` only. CPython looks for signals when a call of a function has
   returned, when a function begins, and when a loop goes round, but not between a built-in
   ``__enter__`` and the block. So no lock stays held.
3. Assignments to attributes need no lock against signals, if no call is between them.

While a thread waits it has no lock, and an interruption does no harm.

``poll`` knows no bound on descriptors, as ``select`` does. Beside the socket, a thread polls an alarm,
by which others wake it. There is only a small number of these; when more threads wait than there are
alarms they share them, and are woken together. A thread that does not look at the socket sleeps on a
lock of its own.
"""

from __future__ import annotations

import itertools
import os
import select
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from adapters.shared.connection import BaseConnection
from adapters.shared.logs import describe
from wsproto_core.exceptions import ConcurrencyError, WebSocketException
from wsproto_core.types import State

__all__ = [
    "POLLIN",
    "POLLOUT",
    "Alarm",
    "Guarded",
    "Interrupted",
    "Kind",
    "PongWaiter",
    "Waiter",
    "Waiting",
    "deadline",
]

POLLIN, POLLOUT = select.POLLIN, select.POLLOUT

T = TypeVar("T")

# What a thread waits for: a message; its turn to send; room for what it has sent; anything else.
MESSAGE, TURN, ROOM, OTHER = range(4)
Kind = int

# How many alarms there are at most, and how many waiters are kept that nobody uses.
ALARMS = 32
SPARE = 64

# Seconds for which a thread that was woken in the place of another leaves the alarm to that one.
OTHERS_ALARM = 0.001

# What a call may raise that is refused: nothing was changed. Anything else is an interruption or a bug.
REFUSALS = (WebSocketException, TypeError, ValueError, RuntimeError)

FREE, BUSY, BROKEN = range(3)

# Seconds for which a thread may come back to the lock while others wait for it, and for which it then
# leaves it to them.
PATIENCE, GIVEN_WAY = 0.005, 0.001


class Interrupted(ConcurrencyError):
    """A signal handler has interrupted its own thread in the middle of a change."""

    def __init__(self) -> None:
        super().__init__(
            "a signal handler cannot wait for a connection while it interrupts a call that is at work on it"
        )


class Alarm:
    """A descriptor that becomes readable when somebody rings.

    Raises:
        OSError: none can be had.
    """

    fd = _write = -1

    def __init__(self) -> None:
        if hasattr(os, "eventfd"):
            self.fd = self._write = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        else:
            self.fd, self._write = os.pipe()
            os.set_blocking(self.fd, False)
            os.set_blocking(self._write, False)

    def ring(self) -> None:
        """Make it readable."""
        with suppress(BlockingIOError):  # it is, more than ever
            os.write(self._write, b"\1\0\0\0\0\0\0\0")

    def silence(self) -> None:
        """Make it unreadable again."""
        with suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def __del__(self) -> None:
        for fd in {self.fd, self._write} - {-1}:
            os.close(fd)


class SharedAlarm(Alarm):
    """An alarm by which one of several waiters is woken, and the others with it.

    Attributes:
        called: those who are meant, and have not answered yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.called: set[Waiter] = set()

    def call(self, waiter: Waiter) -> None:
        """Wake a waiter."""
        self.called.add(waiter)
        self.ring()

    def answer(self, waiter: Waiter) -> None:
        """A waiter is awake. The alarm goes on for others."""
        self.called.discard(waiter)
        for other in tuple(self.called):
            if other.gone:
                self.called.discard(other)
        self.silence()
        if self.called:
            self.ring()


_alarms: list[SharedAlarm] = []
_numbers = itertools.count()


def shared_alarm() -> SharedAlarm:
    """Return one of the alarms that there are for all; with few waiters, each has its own.

    Raises:
        OSError: there is none yet, and none can be made.
    """
    number = next(_numbers) % ALARMS
    if number >= len(_alarms):
        try:
            _alarms.append(SharedAlarm())
        except OSError:
            # There are no descriptors left, but that is not this connection's fault.
            if not _alarms:
                raise
    return _alarms[number % len(_alarms)]


class Waiter:
    """What one thread waits by. All but :meth:`sleep` happens with the connection's lock.

    Attributes:
        kind: MESSAGE, TURN, ROOM or OTHER.
        thread: the thread's identifier.
        events: what it waits for at the socket; if that is nothing, it sleeps on a lock.
        asleep: whether the thread is in :meth:`sleep`, or about to be.
        woken: whether it has been woken since it went to sleep.
        gone: whether the thread waits no longer.
    """

    __slots__ = (
        "_alarm",
        "_fd",
        "_gate",
        "_poll",
        "_registered",
        "asleep",
        "events",
        "gone",
        "kind",
        "thread",
        "woken",
    )

    def __init__(self) -> None:
        self._alarm = shared_alarm()
        self._poll = select.poll()
        self._poll.register(self._alarm.fd, POLLIN)
        self._gate = threading.Lock()
        self._gate.acquire()
        self._fd = self._registered = self.events = self.thread = 0
        self.kind = OTHER
        self.asleep = self.woken = False
        self.gone = True

    def begin(self, kind: Kind) -> None:
        """A thread begins to wait by it."""
        self.kind = kind
        self.thread = threading.get_ident()
        self.events = 0
        self.asleep = self.woken = self.gone = False

    def arm(self, events: int) -> None:
        """The thread is about to sleep, and to wait for these events at the socket."""
        self.answer()
        self.events = events
        self.asleep = True

    def sleep(self, fd: int, until: float | None) -> int:
        """Wait until woken; return what has happened to a socket meanwhile, or 0.

        Args:
            fd: the socket; without ``events``, it is left alone.
            until: the time at which to give up.
        """
        timeout = SECOND if self.thread == _main_thread else DAY
        if until is not None:
            timeout = max(0.0, min(until - time.monotonic(), timeout))
        if not self.events:
            self._gate.acquire(timeout=timeout)
            return 0
        if fd != self._fd or self.events != self._registered:
            # Mostly it is the same as the last time.
            if self._registered:
                self._poll.unregister(self._fd)
            self._poll.register(fd, self.events)
            self._fd, self._registered = fd, self.events
        for ready, happened in self._poll.poll(timeout * 1000):
            if ready == fd:
                return happened
            if not self.woken:
                self._alarm.answer(self)
                if self._alarm.called:
                    time.sleep(OTHERS_ALARM)
        return 0

    def wake(self) -> None:
        """End the sleep of the thread."""
        # An interruption between the deed and its mark must not hide that it is to be done.
        if self.asleep and not self.woken:
            if self.events:
                self._alarm.call(self)
            elif self._gate.locked():
                self._gate.release()
            self.woken = True

    def answer(self) -> None:
        """The thread is awake, or leaves."""
        self.asleep = False
        if self.woken:
            if self.events:
                self._alarm.answer(self)
            else:
                self._gate.acquire(blocking=False)
            self.woken = False


# Seconds that a thread sleeps at once: then it looks, and sleeps on. A signal that comes just before the
# main thread falls asleep does not wake it. For the others, it is only that poll has a bound on the time.
SECOND, DAY = 1.0, 86400.0

_main_thread = threading.main_thread().ident

_spare: list[Waiter] = []


def _forget() -> None:
    global _main_thread
    _main_thread = threading.get_ident()
    # A child process shares the descriptors: it could be woken in its parent's place.
    _spare.clear()
    _alarms.clear()


os.register_at_fork(after_in_child=_forget)


class Guarded(BaseConnection, ABC):
    """A connection whose lock is safe from interruptions: see the beginning of this module."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # A signal handler may interrupt a thread that holds it.
        self._lock = threading.RLock()
        self._condition = FREE
        self._interruption = ""  # what has broken it
        self._deferred: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._knocks: deque[float] = deque()  # since when others wait for the lock

    @abstractmethod
    def _tear_down(self) -> None:
        """The connection is broken: close the stream, and trust nothing; may be done more than once."""

    def _locked(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function of this connection with its lock.

        Raises:
            Interrupted: this thread is in such a call already, which a signal handler has interrupted.
        """
        knock = 0.0
        entered = False
        try:
            if self._condition:
                knock = time.monotonic()
                self._knocks.append(knock)
            with self._lock:
                if self._condition:
                    self._enter_again()
                entered = True
                self._condition = BUSY
                try:
                    result = function(*arguments)
                except REFUSALS:
                    self._condition = FREE
                    raise
                except BaseException as error:
                    self._condition = BROKEN
                    self._interruption = type(error).__name__
                    raise
                self._condition = FREE
        finally:
            if knock:
                self._knocks.remove(knock)
            # After the lock: what others put off until then has been done, or is seen here.
            if entered and (self._condition or self._deferred or self._knocks):
                self._attend()
        return result

    def _enter_again(self) -> None:
        if self._condition == BUSY:
            raise Interrupted
        # It stays broken until this is done.
        self._tear_down()

    def _attend(self) -> None:
        """After a call with the lock: do what was put off, and give way to others."""
        while self._deferred or self._condition == BROKEN:
            try:
                self._locked(self._do_deferred)
            except Interrupted:
                # A signal handler does this: the call that it has interrupted will do it.
                return
        # Python's locks know no queue: who comes back at once takes it before those who have to wake.
        with suppress(IndexError):
            if not self._condition and time.monotonic() - self._knocks[0] > PATIENCE:
                time.sleep(GIVEN_WAY)

    def _do_deferred(self) -> None:
        while self._deferred:
            function, arguments = self._deferred.popleft()
            try:
                function(*arguments)
            except REFUSALS as error:
                self.logger.debug("a call was refused that had been put off: %s", describe(error))

    def _locked_or_left(self, function: Callable[..., object], *arguments: Any) -> bool:
        """Call a function with the lock, or leave that to the thread that has it; return whether called.

        This is for the keeper, whose thread no signal interrupts. It has to try again, because the other
        thread may have been about to leave the lock.
        """
        if not self._lock.acquire(blocking=False):
            if not self._deferred:
                self._deferred.append((function, arguments))
            return False
        try:
            self._locked(function, *arguments)
        finally:
            self._lock.release()
        return True

    def _locked_or_deferred(self, function: Callable[..., object], *arguments: Any) -> bool:
        """Call a function with the lock: at once, or when the call that this interrupts has left it.

        Returns whether it was called at once.
        """
        try:
            self._locked(function, *arguments)
        except Interrupted:
            self._deferred.append((function, arguments))
            return False
        return True


def interrupts_a_change() -> bool:
    """Whether a signal handler calls this that has interrupted a call with the lock of any connection."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is Guarded._locked.__code__:
            return True
    return False


class Waiting(Guarded):
    """A connection that threads wait for.

    Whoever waits reads the socket; if several wait, one of them does it for all: the *reader*. Who
    waits for a message is preferred. Of those who wait because the socket is full, one waits for the
    socket: the *writer*. When one of these leaves, another one follows.

    Time is linear in the number of waiters: each is woken when it is concerned. Of those who wait for
    their turn to send, that is the first.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._fd = -1
        self._blocked = False  # whether the socket takes no more
        self._reading_paused = False
        self._over = False  # whether there will be no more messages
        self._sending = 0  # the thread within a message, which others have to let pass
        self._waiters: OrderedDict[Waiter, None] = OrderedDict()
        self._threads: set[int] = set()  # of those
        self._turns: OrderedDict[Waiter, None] = OrderedDict()
        self._rooms: OrderedDict[Waiter, None] = OrderedDict()
        self._when_ready: deque[Callable[[Any], object]] = deque()
        self._reader: Waiter | None = None
        self._writer: Waiter | None = None
        self._receiver: Waiter | None = None
        self._told: tuple[State, bool] = (State.CONNECTING, False)

    @abstractmethod
    def _receive(self, waiter: Waiter | None = None) -> None: ...

    @abstractmethod
    def _react(self) -> None: ...

    @abstractmethod
    def _watch(self) -> None: ...

    @abstractmethod
    def _note(self) -> None: ...

    @abstractmethod
    def _come_back(self) -> None: ...

    @abstractmethod
    def _close_socket(self) -> None: ...

    def _until(
        self, attempt: Callable[[Waiter], T | None], kind: Kind, until: float | None = None, late: str = ""
    ) -> T:
        """Call a function with the lock until it returns something; return that. Wait in between.

        Meanwhile this thread reads, if no other one does, and writes, if it is waiting for that.

        Args:
            attempt: what it changes before it returns ``None`` must not matter.
            kind: what is waited for.
            until: the time at which to give up.
            late: what is said then.

        Raises:
            TimeoutError: the time is over.
        """
        try:
            waiter = _spare.pop()
        except IndexError:
            waiter = Waiter()
        waiter.begin(kind)
        happened = 0
        expired = False
        try:
            result: T | None = self._locked(self._again, attempt, waiter, happened)
            while result is None:
                if expired:
                    raise TimeoutError(late)
                happened = waiter.sleep(self._fd, until)
                expired = until is not None and until <= time.monotonic()
                result = self._locked(self._again, attempt, waiter, happened)
        finally:
            if not waiter.gone:
                # If an interruption comes before the first of these, the second is done.
                try:
                    self._locked(self._give_up, waiter)
                except BaseException:
                    self._locked(self._give_up, waiter)
                    raise
        if len(_spare) < SPARE:
            _spare.append(waiter)
        return result

    def _wait_for(self, condition: Callable[[], object], until: float | None = None, late: str = "") -> None:
        """Wait until something is so, or raise TimeoutError."""
        self._until(lambda _: condition() or None, OTHER, until, late)

    def _again(self, attempt: Callable[[Waiter], T | None], waiter: Waiter, happened: int) -> T | None:
        waiter.answer()
        if happened:
            if waiter is self._reader:
                self._receive(waiter)
            if happened != POLLIN:
                self._react()
        result: T | None = attempt(waiter)
        if result is None:
            self._arm(waiter)
        else:
            self._leave(waiter)
        return result

    def _arm(self, waiter: Waiter) -> None:
        """A thread is about to sleep: say what it waits for."""
        if waiter not in self._waiters:
            self._enter(waiter)
        reader = self._reader
        if (
            reader is None
            # A signal handler waits, and what it interrupts in this thread cannot read meanwhile, nor write.
            or reader.thread == waiter.thread
            or (waiter.kind == MESSAGE and reader.kind != MESSAGE)
        ):
            self._reader = waiter
        events = POLLIN if waiter is self._reader and not self._reading_paused else 0
        writer = self._writer
        suspended = writer is not None and writer.thread == waiter.thread
        if self._blocked and (suspended or (writer is None and waiter.kind in (TURN, ROOM))):
            self._writer = waiter
            events |= POLLOUT
        elif waiter is writer:
            self._writer = None
        waiter.arm(events)
        self._watch()

    def _enter(self, waiter: Waiter) -> None:
        self._waiters[waiter] = None
        self._come_back()
        if waiter.kind == TURN:
            self._turns[waiter] = None
            if waiter.thread in self._threads:
                # This is a signal handler, and what it has interrupted may stand first, but cannot go on.
                self._turns.move_to_end(waiter, last=False)
        elif waiter.kind == ROOM:
            self._rooms[waiter] = None
        elif waiter.kind == MESSAGE:
            self._receiver = waiter
        self._threads.add(waiter.thread)

    def _has_had_room(self, waiter: Waiter) -> bool:
        return self.protocol.writable or (waiter in self._waiters and waiter not in self._rooms)

    def _leave(self, waiter: Waiter) -> None:
        """A thread waits no longer: let another one read, and write; in the end, the keeper."""
        waiter.answer()
        # An interruption may come in between: each step can be done again.
        self._waiters.pop(waiter, None)
        if waiter.kind == TURN:
            self._turns.pop(waiter, None)
        elif waiter.kind == ROOM:
            self._rooms.pop(waiter, None)
        self._threads.discard(waiter.thread)
        if waiter is self._receiver:
            self._receiver = None
        if waiter is self._writer:
            self._writer = None
            self._wake_first(self._rooms or self._turns)
        if waiter is self._reader:
            self._reader = None
            if self._waiters:
                self._pass_reading_on()
        if waiter.kind == TURN:
            self._pass_turn_on()
        if not self._waiters:
            self._note()
        self._watch()
        if self._fd >= 0 and self.protocol.state is State.CLOSED:
            self._close_socket()
        waiter.gone = True

    def _give_up(self, waiter: Waiter) -> None:
        """A thread waits no longer, though what it has waited for has not come."""
        self._leave(waiter)
        if waiter.kind == MESSAGE:
            self.protocol.stop_waiting()
            self._react()

    def _pass_reading_on(self) -> None:
        successor = self._receiver or next(reversed(self._waiters), None)
        if successor is not None and not self._reading_paused:
            self._reader = successor
            if not successor.events & POLLIN:
                successor.wake()

    def _may_send(self) -> bool:
        protocol = self.protocol
        return protocol.state is not State.OPEN or (protocol.writable and not self._sending)

    def _pass_turn_on(self) -> None:
        if (self._turns or self._when_ready) and self._may_send():
            self._wake_first(self._turns)
            while self._when_ready:
                self._when_ready.popleft()(self)

    def _call_when_ready(self, function: Callable[[Any], object]) -> None:
        """Call a function with this connection, once, when a message can be sent or never again."""
        self._when_ready.append(function)
        self._locked_or_deferred(self._pass_turn_on)

    def _wake_first(self, waiters: OrderedDict[Waiter, None]) -> None:
        if waiters:
            next(iter(waiters)).wake()

    def _notify(self) -> None:
        """Wake those who have waited for what has happened."""
        if not self._waiters and not self._when_ready:
            return
        told = (self.protocol.state, self._over)
        if told != self._told:
            self._told = told
            self._wake_all()
        if self._receiver is not None and self.protocol.undelivered:
            self._receiver.wake()
        if self._rooms and self.protocol.writable:
            # Who is not there any more has had room, whatever others send before it is awake.
            rooms, self._rooms = self._rooms, OrderedDict()
            for waiter in rooms:
                waiter.wake()
        self._pass_turn_on()
        reader = self._reader
        if not self._reading_paused and (reader is None or not reader.events & POLLIN):
            self._pass_reading_on()

    def _wake_all(self) -> None:
        for waiter in self._waiters:
            waiter.wake()


def deadline(timeout: float | None) -> float | None:
    """Return the time at which a timeout is over."""
    return None if timeout is None else time.monotonic() + timeout


class PongWaiter:
    """A ping that was sent: what :meth:`.Connection.ping` returns."""

    def __init__(self, connection: Waiting) -> None:
        self._connection = connection
        self._latency: float | None = None
        self._error: Exception | None = None
        self._waiters: set[Waiter] = set()

    def done(self) -> bool:
        """Whether there is a pong, or will be none."""
        return self._latency is not None or self._error is not None

    def set_result(self, latency: float) -> None:
        """There is a pong: for the connection."""
        self._latency = latency
        self._wake()

    def set_exception(self, error: Exception) -> None:
        """There will be none: for the connection."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            waiter.wake()

    def _is_done(self, waiter: Waiter) -> bool | None:
        if self.done():
            self._waiters.discard(waiter)
            return True
        self._waiters = {each for each in self._waiters if not each.gone} | {waiter}
        return None

    def wait(self, timeout: float | None = None) -> float:
        """Wait for the pong, and return the latency in seconds.

        The pong proves that the peer has received everything that was sent before the ping.

        Args:
            timeout: seconds to wait; ``None`` for any time.

        Raises:
            ConnectionClosed: the connection is closed, there will be no pong.
            TimeoutError: there is none yet.
        """
        if not self.done():
            self._connection._until(self._is_done, OTHER, deadline(timeout), "no pong yet")
        if self._error is not None:
            raise self._error
        assert self._latency is not None
        return self._latency
