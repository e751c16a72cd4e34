"""S14: whatever two users do, in whatever order, neither sees or changes anything of the other's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

import sizes
from store.turns import begin, finish
from trunkline.core.caller import Secret
from trunkline.core.problem import Kind, Problem
from trunkline.store.db import Database
from trunkline.store.history import History

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from store.databases import Place
    from trunkline.store.history import Turn

STEPS = sizes.size(1_000, 5_000)
STEPS_OF_ONE_WALK = 25

users = st.sampled_from(["ada", "mallory"])


class TwoUsers(RuleBasedStateMachine):
    """Two users, and a model of whose is what. Every text of a user begins with their name."""

    sessions = Bundle("sessions")

    def __init__(self, runner: asyncio.Runner, history: History) -> None:
        super().__init__()
        self.runner = runner
        self.history = history
        self.suffix = uuid4().hex
        self.owner: dict[str, str] = {}
        self.live: dict[str, Turn] = {}
        self.said: dict[str, int] = {}

    def run(self, step: Coroutine[Any, Any, Any]) -> Any:
        """What it returns, or the kind of its Problem."""

        async def told() -> Any:
            try:
                return await step
            except Problem as problem:
                return problem.kind

        return self.runner.run(told())

    def user(self, name: str) -> str:
        """A user of this walk alone: its database is shared."""
        return f"{name}-{self.suffix}"

    def may(self, user: str, session: str) -> bool:
        """Whether this session is there for this user."""
        return self.owner.get(session) == self.user(user)

    @initialize(target=sessions)
    def nobody(self) -> str:
        """An id that nobody has."""
        return str(uuid4())

    @rule(target=sessions, user=users)
    def open_by_chat(self, user: str) -> str:
        turn = self.run(begin(self.history, f"{self.user(user)} asks", user=self.user(user)))
        self.owner[turn.session_id] = self.user(user)
        self.live[turn.session_id] = turn
        self.said[turn.session_id] = 1
        return turn.session_id

    @rule(target=sessions, user=users)
    def create(self, user: str) -> str:
        key = uuid4()
        made = self.run(
            self.history.owned_by(self.user(user)).create(key, title=f"{self.user(user)}'s", model=None, metadata=None)
        )
        assert made.id == key
        self.owner[str(key)] = self.user(user)
        self.said[str(key)] = 0
        return str(key)

    @rule(user=users, session=sessions)
    def append(self, user: str, session: str) -> None:
        if session in self.live and self.may(user, session):
            return  # told by test_a_session_has_one_turn_at_a_time, which takes its time
        began = self.run(begin(self.history, f"{self.user(user)} asks", session=session, user=self.user(user)))
        if not self.may(user, session):
            assert began is Kind.NOT_FOUND
            return
        assert len(began.earlier) == self.said[session]
        assert all(message.text.startswith(self.user(user)) for message in began.earlier)
        self.live[session] = began
        self.said[session] += 1

    @rule(session=sessions)
    def answer(self, session: str) -> None:
        turn = self.live.pop(session, None)
        if turn is not None:
            owner = self.owner.get(session, "nobody")
            finish(self.history, turn, f"{owner} is answered", user=owner)
            self.said[session] = self.said.get(session, 0) + 1

    @rule(user=users, session=sessions)
    def read(self, user: str, session: str) -> None:
        mine = self.history.owned_by(self.user(user))
        found = self.run(mine.read(UUID(session)))
        messages = self.run(mine.messages(UUID(session)))
        context = self.run(mine.context(UUID(session)))
        if not self.may(user, session):
            assert (found, messages, context) == (Kind.NOT_FOUND,) * 3
            return
        assert found.message_count == len(messages.messages) == len(context) == self.said[session]

    @rule(user=users, session=sessions)
    def rename(self, user: str, session: str) -> None:
        mine = self.history.owned_by(self.user(user))
        changed = self.run(mine.update(UUID(session), {"title": f"{self.user(user)}'s"}))
        assert (changed is Kind.NOT_FOUND) is not self.may(user, session)

    @rule(user=users, session=sessions)
    def delete(self, user: str, session: str) -> None:
        gone = self.run(self.history.owned_by(self.user(user)).delete(UUID(session)))
        assert gone is (None if self.may(user, session) else Kind.NOT_FOUND)
        if gone is None:
            del self.owner[session]

    @rule(user=users, query=st.sampled_from([None, "asks", "ada", "mallory", "'s", "%"]))
    def list_or_search(self, user: str, query: str | None) -> None:
        page = self.run(self.history.owned_by(self.user(user)).page(query=query, limit=200))
        listed = {str(session.id) for session in page.sessions}
        owned = {session for session, owner in self.owner.items() if owner == self.user(user)}
        assert listed <= owned
        assert query is not None or listed == owned

    def teardown(self) -> None:
        """End what is live, so that the next walk begins with nothing."""
        for session in tuple(self.live):
            self.answer(session)


def test_two_users_never_see_or_touch_each_others_sessions(somewhere: Place) -> None:
    with asyncio.Runner() as runner:
        database = Database(Secret(somewhere.url))
        history = History(database)
        runner.run(history.start())

        class Walk(TwoUsers):
            """On this database."""

            def __init__(self) -> None:
                super().__init__(runner, history)

        try:
            run_state_machine_as_test(
                Walk,
                settings=settings(
                    max_examples=STEPS // STEPS_OF_ONE_WALK,
                    stateful_step_count=STEPS_OF_ONE_WALK,
                    deadline=None,
                    suppress_health_check=[HealthCheck.too_slow],
                    database=None,
                ),
            )
        finally:
            runner.run(history.aclose(10))
            runner.run(database.aclose())
        assert history.lost == 0
