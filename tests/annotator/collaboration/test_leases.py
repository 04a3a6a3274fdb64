"""Leases, with a clock of the test's own."""

from annotator.collaboration.leases import Leases


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_lease_keeps_others_out_until_it_ends() -> None:
    clock = Clock()
    leases = Leases(60, clock)
    assert leases.take(1, "anna")
    assert not leases.take(1, "ben")
    assert leases.holders(1) == ["anna"]
    assert leases.is_free(1, "anna")
    assert not leases.is_free(1, "ben")
    assert leases.take(2, "ben")
    clock.now = 59.9
    assert not leases.take(1, "ben")
    clock.now = 60.0
    assert leases.holders(1) == []
    assert leases.take(1, "ben")
    assert not leases.take(1, "anna")


def test_work_renews_a_lease() -> None:
    clock = Clock()
    leases = Leases(60, clock)
    leases.take(1, "anna")
    clock.now = 50
    leases.take(1, "anna")
    clock.now = 100
    assert leases.holders(1) == ["anna"]


def test_only_its_holder_gives_a_lease_back_and_an_admin_ends_any() -> None:
    leases = Leases(60, Clock())
    leases.take(1, "anna")
    leases.give_back(1, "ben")
    assert leases.holders(1) == ["anna"]
    leases.give_back(1, "anna")
    assert leases.holders(1) == []
    leases.take(1, "anna")
    leases.end(1)
    leases.end(7)
    assert leases.take(1, "ben")


def test_a_photo_with_several_places_is_held_by_as_many_and_no_more() -> None:
    clock = Clock()
    leases = Leases(60, clock)
    assert leases.take(1, "anna", 2)
    clock.now = 30.0
    assert leases.take(1, "ben", 2)
    assert leases.holders(1) == ["anna", "ben"]
    assert not leases.is_free(1, "cleo", 2)
    assert not leases.take(1, "cleo", 2)
    assert leases.take(1, "ben", 1)  # who has it keeps it, though there are fewer places by now
    leases.give_back(1, "ben")
    assert not leases.take(1, "cleo", 1)
    assert leases.take(1, "cleo", 2)
    clock.now = 60.0  # Anna has gone without a word
    assert leases.is_free(1, "ben", 2)
    assert leases.take(1, "ben", 2)
    assert leases.all() == {1: ["cleo", "ben"]}
    leases.end(1)
    assert leases.all() == {}


def test_leases_that_are_over_are_forgotten() -> None:
    clock = Clock()
    leases = Leases(60, clock)
    leases.take(1, "anna")
    clock.now = 30
    leases.take(2, "ben")
    clock.now = 70
    assert leases.all() == {2: ["ben"]}
