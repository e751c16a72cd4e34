"""History: turns begin with their context and are stored behind, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from store.databases import Clock, Place, opened, running
from store.turns import USER, begin, finish, say, texts
from trunkline.core.problem import Kind, Problem
from trunkline.core.reply import Usage
from trunkline.store.history import BEGIN_S, History

if TYPE_CHECKING:
    from trunkline.store.db import Database


async def test_a_turn_without_a_session_opens_one_and_has_no_context(history: History) -> None:
    turn = await begin(history, "What is a trunk line?")
    assert turn.earlier == ()
    session = await history.owned_by(USER).read(UUID(turn.session_id))
    assert (session.title, session.model, session.message_count) == ("What is a trunk line?", "asked/model", 1)


async def test_the_next_turn_sees_what_was_said_before(history: History) -> None:
    session = await say(history, "One?", "1")
    await say(history, "Two?", "2", session=session)
    turn = await begin(history, "Three?", session=session)
    assert texts(turn) == ["One?", "1", "Two?", "2"]
    assert [message.role for message in turn.earlier] == ["user", "assistant", "user", "assistant"]


async def test_what_was_streamed_is_what_is_stored(history: History, clock: Clock) -> None:
    turn = await begin(history, "Hello")
    clock.now += 3
    finish(history, turn, "Hi there", usage=Usage(input_tokens=11, output_tokens=4, cost_nano=9_500))
    question, answer = (await history.owned_by(USER).messages(UUID(turn.session_id))).messages
    assert (question.role, question.content, question.status) == ("user", "Hello", "complete")
    assert (question.temperature, question.max_tokens, question.model) == (0.7, 100, "asked/model")
    assert (answer.role, answer.content, answer.status) == ("assistant", "Hi there", "complete")
    assert (answer.tokens_used, answer.cost_nano, answer.model) == (15, 9_500, "served-model")
    assert answer.parts == [{"type": "text", "text": "Hi there"}]
    assert answer.parent_id == question.id
    assert (answer.created_at - question.created_at).total_seconds() == 3
    assert question.request_id == answer.request_id == "r-1"


async def test_the_session_counts_its_messages_and_knows_the_time_of_the_last(history: History, clock: Clock) -> None:
    session = await say(history, "One?", "1")
    clock.now += 60
    await say(history, "Two?", "2", session=session)
    read = await history.owned_by(USER).read(UUID(session))
    assert read.message_count == 4
    assert read.last_message_at == read.updated_at
    assert read.last_message_at is not None
    assert (read.last_message_at - read.created_at).total_seconds() == 60


async def test_an_answer_that_broke_is_stored_as_it_was_seen(history: History) -> None:
    for status, text in (("cut", "Half of"), ("cancelled", "The beginning")):
        session = await say(history, "Tell me", text, status=status)
        page = await history.owned_by(USER).messages(UUID(session))
        assert (page.messages[1].status, page.messages[1].content) == (status, text)
        assert texts(await begin(history, "Go on", session=session)) == ["Tell me", text]


async def test_a_failed_answer_is_on_record_and_not_in_the_context(history: History) -> None:
    session = await say(history, "Tell me", "", status="error")
    page = await history.owned_by(USER).messages(UUID(session))
    assert [(message.status, message.content) for message in page.messages] == [("complete", "Tell me"), ("error", "")]
    assert texts(await begin(history, "Again", session=session)) == ["Tell me"]


async def test_a_question_that_is_tried_again_goes_along_once(history: History) -> None:
    session = await say(history, "One?", "1")
    for _ in range(2):
        finish(history, await begin(history, "Two?\0", session=session), "", status="error")
    again = await begin(history, "Two?\0", session=session)
    assert texts(again) == ["One?", "1"]
    finish(history, again, "2")
    assert texts(await begin(history, "Two?\0", session=session)) == ["One?", "1", "Two?\ufffd", "2"]
    kept = (await history.owned_by(USER).messages(UUID(session))).messages
    assert [one.content for one in kept].count("Two?\ufffd") == 4


async def test_unknown_usage_stays_unknown_and_zero_stays_zero(history: History) -> None:
    unknown = await begin(history)
    finish(history, unknown, usage=Usage(input_tokens=3))
    zero = await begin(history)
    finish(history, zero, usage=Usage(input_tokens=0, output_tokens=0, cost_nano=0))
    found = [(await history.owned_by(USER).messages(UUID(turn.session_id))).messages[1] for turn in (unknown, zero)]
    assert [(message.tokens_used, message.cost_nano) for message in found] == [(None, None), (0, 0)]


async def test_numbers_that_no_column_holds_become_unknown(history: History) -> None:
    turn = await begin(history)
    finish(history, turn, usage=Usage(input_tokens=10**30, output_tokens=1, cost_nano=-1))
    answer = (await history.owned_by(USER).messages(UUID(turn.session_id))).messages[1]
    assert (answer.content, answer.tokens_used, answer.cost_nano) == ("Hi!", None, None)


async def test_text_that_postgresql_refuses_is_stored_with_replacement_characters(history: History) -> None:
    session = await say(history, "a\0b \ud83d", "c\0d \udfff")
    assert texts(await begin(history, "?", session=session)) == ["a\ufffdb \ufffd", "c\ufffdd \ufffd"]
    assert history.lost == 0


NO_SESSIONS = (
    str(uuid4()),
    uuid4().hex,
    f"{{{uuid4()}}}",
    f"urn:uuid:{uuid4()}",
    "not-a-uuid",
    "",
    "0",
    "\0",
    "é" * 36,
)


async def test_a_session_that_is_not_there_is_not_found(history: History) -> None:
    for name in NO_SESSIONS:
        with pytest.raises(Problem) as caught:
            await begin(history, session=name)
        assert (caught.value.kind, caught.value.param) == (Kind.NOT_FOUND, "sessionId")


async def test_another_users_session_is_not_found_whatever_goes_on_in_it(history: History, somewhere: Place) -> None:
    turn = await begin(history, user="ada")
    for phase in ("streaming", "stored"):
        with pytest.raises(Problem) as caught:
            await begin(history, session=turn.session_id, user="mallory")
        assert caught.value.kind is Kind.NOT_FOUND, phase
        if phase == "streaming":
            finish(history, turn, user="ada")
            assert texts(await begin(history, session=turn.session_id, user="ada")) == ["Hello", "Hi!"]
    assert await somewhere.count("chat_messages") == 3


async def test_a_session_has_one_turn_at_a_time(history: History) -> None:
    turn = await begin(history)
    with pytest.raises(Problem) as caught:
        await begin(history, "Another", session=turn.session_id)
    assert caught.value.kind is Kind.CONFLICT
    finish(history, turn)
    assert texts(await begin(history, "Another", session=turn.session_id)) == ["Hello", "Hi!"]


async def test_a_question_sent_with_the_last_byte_of_an_answer_waits_for_it(history: History) -> None:
    turn = await begin(history)
    asyncio.get_running_loop().call_later(0.1, finish, history, turn)
    assert texts(await begin(history, "Next", session=turn.session_id)) == ["Hello", "Hi!"]


async def test_of_many_turns_at_once_in_a_session_one_begins(history: History) -> None:
    session = await say(history, "One?", "1")
    began = await asyncio.gather(
        *(begin(history, f"No. {number}", session=session) for number in range(5)), return_exceptions=True
    )
    refused = [each for each in began if isinstance(each, Problem)]
    assert [problem.kind for problem in refused] == [Kind.CONFLICT] * 4
    assert (await history.owned_by(USER).read(UUID(session))).message_count == 3


async def test_across_workers_a_session_has_one_turn_at_a_time(somewhere: Place, clock: Clock) -> None:
    async with (
        opened(somewhere.url) as one,
        opened(somewhere.url) as two,
        running(History(one, clock=clock)) as here,
        running(History(two, clock=clock, begin_s=0.6)) as impatient,
        running(History(two, clock=clock)) as there,
    ):
        turn = await begin(here)
        with pytest.raises(Problem) as caught:
            await begin(impatient, session=turn.session_id)
        assert caught.value.kind is Kind.CONFLICT
        asyncio.get_running_loop().call_later(0.3, finish, here, turn)
        assert texts(await begin(there, "Next", session=turn.session_id)) == ["Hello", "Hi!"]


async def test_an_answer_that_another_worker_is_writing_is_read_after_that(somewhere: Place, clock: Clock) -> None:
    async with (
        opened(somewhere.url) as one,
        opened(somewhere.url) as two,
        running(History(one, clock=clock)) as here,
    ):
        turn = await begin(here)
        theirs = History(two, clock=clock).owned_by(USER)
        assert len((await theirs.messages(UUID(turn.session_id))).messages) == 1
        asyncio.get_running_loop().call_later(0.1, finish, here, turn)
        assert len((await theirs.messages(UUID(turn.session_id))).messages) == 2


async def test_a_turn_whose_process_died_frees_its_session_after_the_lease(somewhere: Place, clock: Clock) -> None:
    async with opened(somewhere.url) as database, running(History(database, clock=clock, begin_s=0.6)) as survivor:
        turn = await begin(History(database, clock=clock))  # and never heard of again
        clock.now += 44
        with pytest.raises(Problem) as caught:
            await begin(survivor, session=turn.session_id)
        assert caught.value.kind is Kind.CONFLICT
        clock.now += 2
        assert texts(await begin(survivor, "Again", session=turn.session_id)) == ["Hello"]


async def test_a_live_turn_renews_its_lease(somewhere: Place, clock: Clock) -> None:
    async with (
        opened(somewhere.url) as database,
        running(History(database, clock=clock, lease_s=0.3)) as here,
        running(History(database, clock=clock, begin_s=0.6)) as there,
    ):
        turn = await begin(here)
        clock.now += 60
        (before,) = (await somewhere.rows("SELECT turn_expires_at FROM chat_sessions"))[0]
        for _ in range(200):
            (after,) = (await somewhere.rows("SELECT turn_expires_at FROM chat_sessions"))[0]
            if after != before:
                break
            await asyncio.sleep(0.02)
        with pytest.raises(Problem) as caught:
            await begin(there, session=turn.session_id)
        assert caught.value.kind is Kind.CONFLICT


async def test_an_answer_after_its_lease_is_stored_and_leaves_the_next_turn_its_session(
    somewhere: Place, clock: Clock
) -> None:
    async with (
        opened(somewhere.url) as database,
        running(History(database, clock=clock)) as slow,
        running(History(database, clock=clock)) as quick,
    ):
        late = await begin(slow, "Late?")
        clock.now += 60
        await begin(quick, "Quick?", session=late.session_id)
        finish(slow, late, "Late.")
        found = await slow.owned_by(USER).messages(UUID(late.session_id))
        assert [message.content for message in found.messages] == ["Late?", "Quick?", "Late."]
        ((mark,),) = await somewhere.rows("SELECT turn FROM chat_sessions")
        assert mark is not None


async def test_a_deleted_session_takes_no_more_writes(history: History, somewhere: Place) -> None:
    turn = await begin(history)
    await history.owned_by(USER).delete(UUID(turn.session_id))
    finish(history, turn, "Too late")
    with pytest.raises(Problem) as caught:
        await begin(history, session=turn.session_id)
    assert caught.value.kind is Kind.NOT_FOUND
    await history.aclose(5)
    assert await somewhere.count("chat_messages") == 0
    assert history.lost == 0


async def test_a_session_deleted_in_another_worker_takes_no_more_writes(
    history: History, database: Database, somewhere: Place
) -> None:
    turn = await begin(history)
    await History(database).owned_by(USER).delete(UUID(turn.session_id))
    finish(history, turn, "Too late")
    await history.aclose(5)
    assert await somewhere.count("chat_messages") == 0
    assert history.lost == 0


async def test_a_caller_who_leaves_while_a_turn_begins_leaves_nothing_behind(
    history: History, somewhere: Place
) -> None:
    session = await say(history, "One?", "1")
    await history.owned_by(USER).read(UUID(session))
    for steps in range(12):
        for name in (session, None):
            task = asyncio.create_task(begin(history, "Never mind", session=name))
            for _ in range(steps):
                await asyncio.sleep(0.001)
            if task.cancel():
                await asyncio.wait((task,))
            else:
                finish(history, task.result(), "Begun after all")
    await history.aclose(60)  # a busy disk takes its time for so many small writes
    (sessions,) = await somewhere.rows(
        "SELECT count(*), sum(message_count) FROM chat_sessions"
        " WHERE NOT EXISTS (SELECT 1 FROM chat_messages WHERE session_id = chat_sessions.id)"
    )
    assert sessions[0] == 0
    counted = await somewhere.rows(
        "SELECT message_count, (SELECT count(*) FROM chat_messages WHERE session_id = chat_sessions.id)"
        " FROM chat_sessions"
    )
    assert all(claimed == there for claimed, there in counted)
    assert await somewhere.rows("SELECT id FROM chat_sessions WHERE turn IS NOT NULL") == []


async def test_finishing_takes_no_time(history: History) -> None:
    turns = [await begin(history) for _ in range(20)]
    before = time.perf_counter()
    for turn in turns:
        finish(history, turn, "x" * 100_000)
    assert time.perf_counter() - before < 0.2
    assert history.pending == 20


async def test_finishing_what_never_began_is_counted_and_breaks_nothing(history: History) -> None:
    turn = await begin(history)
    finish(history, turn)
    finish(history, turn)
    assert history.lost == 1


async def test_a_long_session_is_read_from_its_end(history: History) -> None:
    session = await say(history, "Old", "x" * 5_000_000)
    await say(history, "New", "y" * 5_000_000, session=session)
    assert [text[:3] for text in texts(await begin(history, session=session))] == ["New", "yyy"]


async def test_two_hundred_turns_at_once_begin_and_are_stored(database: Database, somewhere: Place) -> None:
    async with running(History(database, begin_s=4 * BEGIN_S)) as history:
        turns = await asyncio.gather(*(begin(history, f"No. {number}") for number in range(200)))
        for number, turn in enumerate(turns):
            finish(history, turn, f"Answer {number}")
        await history.aclose(20)
    assert history.lost == 0
    assert await somewhere.count("chat_messages") == 400
