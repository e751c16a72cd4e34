"""Who is let in: everybody where there is no secret, its holder where there is one, and a cookie while it lasts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.access.keys import COOKIE_S, Keys
from trunkline.core.caller import ANONYMOUS, Caller, Secret
from trunkline.core.problem import Kind, Problem

SECRET = "canary-secret-of-the-administrator-0123456789"
ADMIN = Caller(user=ANONYMOUS, is_admin=True)
GUEST = Caller(user=ANONYMOUS, is_admin=False)


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float = 1_800_000_000.7) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def keys(secret: str | None = SECRET, *, is_open: bool = False, clock: Clock | None = None) -> Keys:
    return Keys(Secret(secret) if secret else None, is_open=is_open, clock=clock or Clock())


def refusal(door: Keys, credential: str | None = None, cookie: str | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        door.authorise(credential, cookie)
    assert caught.value.kind is Kind.UNAUTHENTICATED
    assert caught.value.status == 401
    assert "canary" not in repr(caught.value)
    return caught.value


def test_on_an_open_router_guests_do_not_share_the_administrators_sessions() -> None:
    administrator = keys(is_open=True).authorise(SECRET)
    assert administrator.is_admin
    assert administrator.user != keys(is_open=True).authorise(None).user


@pytest.mark.parametrize("credential", [None, "", "whatever", SECRET])
def test_without_a_secret_everybody_may_do_everything(credential: str | None) -> None:
    assert keys(secret=None).authorise(credential, "any cookie") == ADMIN


def test_the_secret_is_the_administrators() -> None:
    assert keys().authorise(SECRET) == ADMIN


@pytest.mark.parametrize(
    "credential", ["", "wrong", SECRET[:-1], SECRET + "x", SECRET.upper(), f" {SECRET}", "é\ud800"]
)
def test_anything_else_is_refused_where_there_is_a_secret(credential: str) -> None:
    assert refusal(keys(), credential).message.startswith("The key is not known here: send `Authorization: Bearer ...`")


def test_nothing_is_refused_with_what_to_do() -> None:
    assert refusal(keys()).message == (
        "This router wants a key: send `Authorization: Bearer ...`, or log in on the page."
    )


@pytest.mark.parametrize("credential", [None, "wrong"])
def test_an_open_router_with_a_secret_serves_everybody_but_does_not_let_them_administrate(
    credential: str | None,
) -> None:
    assert keys(is_open=True).authorise(credential, "forged") == GUEST


def test_a_cookie_stands_for_the_secret() -> None:
    door = keys()
    cookie = door.log_in(SECRET)
    assert door.authorise(None, cookie) == ADMIN
    assert door.authorise("a wrong key", cookie) == ADMIN
    assert SECRET not in cookie


def test_a_cookie_is_the_same_for_every_worker() -> None:
    assert keys().authorise(None, keys().log_in(SECRET)) == ADMIN


def test_a_cookie_lasts_half_a_day() -> None:
    clock = Clock()
    door = keys(clock=clock)
    cookie = door.log_in(SECRET)
    clock.now += COOKIE_S - 1
    assert door.authorise(None, cookie) == ADMIN
    clock.now += 1
    assert "wants a key" in refusal(door, None, cookie).message


def test_a_cookie_of_another_secret_is_worth_nothing() -> None:
    other = keys("another-secret-of-the-administrator-0123456789")
    refusal(other, None, keys().log_in(SECRET))


def test_a_cookie_whose_expiry_was_moved_is_worth_nothing() -> None:
    cookie = keys().log_in(SECRET)
    expires, _, signature = cookie.partition(".")
    refusal(keys(), None, f"{int(expires) + 1}.{signature}")
    refusal(keys(), None, f"0{expires}.{signature}")
    refusal(keys(), None, f"{expires}.{signature}0")
    refusal(keys(), None, f"{expires}.{signature[:-1]}")


@pytest.mark.parametrize(
    "cookie", ["", ".", "9999999999", "9999999999.", "-1.x", "²²².x", "9" * 5000 + ".x", "x.\ud800"]
)
def test_a_cookie_that_is_none_is_refused(cookie: str) -> None:
    refusal(keys(), None, cookie)


@given(credential=st.text() | st.none(), cookie=st.text() | st.none())
@settings(deadline=None)
def test_no_text_opens_the_door(credential: str | None, cookie: str | None) -> None:
    refusal(keys(), credential, cookie)


@pytest.mark.parametrize("secret", [SECRET, None])
def test_a_wrong_key_does_not_log_in(secret: str | None) -> None:
    with pytest.raises(Problem) as caught:
        keys(secret).log_in("wrong")
    assert (caught.value.kind, caught.value.param) == (Kind.UNAUTHENTICATED, "key")


def test_keys_do_not_show_their_secret() -> None:
    assert "canary" not in f"{keys()!r} {vars(keys())}"
