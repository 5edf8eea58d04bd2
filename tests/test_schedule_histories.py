"""Days of schedules: random ones with clocks that jump, and those on which clocks are changed. The log tells of all."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from queuectl.clock import SECOND, now, text
from tests.support.one_worker import OneWorker
from tests.support.schedule_judge import faults, fire


@pytest.fixture
def clock() -> Iterator[FrozenDateTimeFactory]:
    with freeze_time("2027-01-15T12:00:00Z") as frozen:
        yield frozen  # pyright: ignore[reportReturnType]


@pytest.fixture
def one(tmp_path: Path, clock: FrozenDateTimeFactory) -> OneWorker:
    return OneWorker(tmp_path)


class History:
    """Random days of one schedule: clocks that jump, pauses, edits, removals, jobs that end or don't."""

    def __init__(self, one: OneWorker, clock: FrozenDateTimeFactory, pick: Random) -> None:
        self.one, self.queue, self.clock, self.pick = one, one.queue, clock, pick
        self.add()

    def terms(self) -> dict[str, object]:
        pick = self.pick
        catch_up = pick.choice(("none", "last", "last", "all"))
        when: dict[str, object] = pick.choice((
            {"cron": "* * * * *", "tz": "Australia/Lord_Howe"}, {"cron": "*/20 * * * *", "tz": "Europe/Berlin"},
            {"cron": "30 2 * * *", "tz": "America/New_York"}, {"cron": "0 */3 * * 1-5", "tz": "UTC"}, {"every": 700},
        ))  # fmt: skip
        overlap = "allow" if catch_up == "all" else pick.choice(("skip", "queue", "allow"))
        return {
            **when, "catch_up": catch_up, "window": pick.choice((0, 1800, 7200)), "overlap": overlap,
            "jitter": pick.choice((0, 30)),
        }  # fmt: skip

    def add(self) -> None:
        self.queue.schedules.add("s", ["true"], **self.terms())  # pyright: ignore[reportArgumentType]

    def tick(self) -> None:
        self.clock.tick(self.pick.choice((1, 30, 61, 600, 4000, 90_000)))

    def jump(self) -> None:
        self.clock.tick(self.pick.choice((-60, -4000, -90_000, 2_000_000, -2_000_000)))

    def far(self) -> None:
        here = now() / SECOND
        self.clock.move_to("2099-03-01T00:00:07Z")
        self.fire()
        self.clock.move_to(text(round(here * SECOND)))

    def fire(self) -> None:
        for _ in range(self.pick.choice((1, 1, 200))):
            if not self.queue.schedules.fire("s"):
                break

    def work(self) -> None:
        self.one.run()

    def claim(self) -> None:
        self.one.claim(1)

    def pause(self) -> None:
        self.queue.schedules.pause("s")

    def resume(self) -> None:
        self.queue.schedules.resume("s")

    def edit(self) -> None:
        self.queue.schedules.edit("s", terms=self.terms())  # pyright: ignore[reportArgumentType]

    def again(self) -> None:
        self.queue.schedules.remove("s")
        self.add()

    def ask(self) -> None:
        self.queue.schedules.run("s")
        self.queue.schedules.backfill("s", now() - 7200 * SECOND)

    def do(self) -> None:
        common = [self.tick, self.tick, self.fire, self.fire, self.fire, self.work, self.claim]
        rare = [self.jump, self.pause, self.resume, self.edit, self.again, self.ask]
        self.pick.choice(common * 2 + rare)()


@pytest.mark.parametrize("seed", range(12))
def test_random_histories_tell_of_every_moment(one: OneWorker, clock: FrozenDateTimeFactory, seed: int) -> None:
    history = History(one, clock, Random(seed))
    for step in range(60):
        history.do()
        if step == 30 and seed % 3 == 0:
            history.far()
    history.resume()
    fire(one.queue)
    assert faults(one.queue, "s", now()) == []
    assert one.queue.check() == []


@pytest.mark.parametrize("zone, start", [
    (zone, start)
    for zone, starts in {
        "Europe/Berlin": ("2027-03-27T12:00Z", "2027-10-30T12:00Z"),
        "America/New_York": ("2027-03-13T12:00Z", "2027-11-06T12:00Z"),
        "Australia/Lord_Howe": ("2027-10-02T03:00Z", "2027-04-03T03:00Z"),
    }.items()
    for start in starts
])  # fmt: skip
def test_each_moment_fires_across_clock_changes(
    one: OneWorker, clock: FrozenDateTimeFactory, zone: str, start: str
) -> None:
    clock.move_to(start)
    for name, cron in (("fixed", "45 1,2 * * *"), ("often", "*/15 * * * *")):
        one.queue.schedules.add(name, ["true"], cron=cron, tz=zone, overlap="allow")
    begun = now()
    while now() < begun + 24 * 3600 * SECOND:
        clock.tick(300)
        for name in ("fixed", "often"):
            fire(one.queue, name)
    fired = [record.subject.partition("@")[0] for record in one.queue.events(type="enqueued")]
    assert (fired.count("fixed"), fired.count("often")) == (2, 24 * 4)
    for name in ("fixed", "often"):
        assert faults(one.queue, name, now()) == []
        assert not any(record.type == "schedule_skipped" for record in one.queue.events())
