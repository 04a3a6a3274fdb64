"""Leases, with a clock of the test's own."""

from annotator.leases import Leases


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_lease_keeps_others_out_until_it_ends() -> None:
    clock = Clock()
    leases = Leases(60, clock)
    assert leases.take(1, "anna")
    assert not leases.take(1, "ben")
    assert leases.holder(1) == "anna"
    assert leases.is_free(1, "anna")
    assert not leases.is_free(1, "ben")
    assert leases.take(2, "ben")
    clock.now = 59.9
    assert not leases.take(1, "ben")
    clock.now = 60.0
    assert leases.holder(1) is None
    assert leases.take(1, "ben")
    assert not leases.take(1, "anna")


def test_work_renews_a_lease() -> None:
    clock = Clock()
    leases = Leases(60, clock)
    leases.take(1, "anna")
    clock.now = 50
    leases.take(1, "anna")
    clock.now = 100
    assert leases.holder(1) == "anna"


def test_only_its_holder_gives_a_lease_back_and_an_admin_ends_any() -> None:
    leases = Leases(60, Clock())
    leases.take(1, "anna")
    leases.give_back(1, "ben")
    assert leases.holder(1) == "anna"
    leases.give_back(1, "anna")
    assert leases.holder(1) is None
    leases.take(1, "anna")
    leases.end(1)
    leases.end(7)
    assert leases.take(1, "ben")


def test_leases_that_are_over_are_forgotten() -> None:
    clock = Clock()
    leases = Leases(60, clock)
    leases.take(1, "anna")
    clock.now = 30
    leases.take(2, "ben")
    clock.now = 70
    assert {image_id: lease.user for image_id, lease in leases.all().items()} == {2: "ben"}
