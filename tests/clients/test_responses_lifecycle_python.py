"""The openai package for Python, unmodified, over a real socket: what becomes of responses and conversations."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.responses_client import APP, POLLS, ask, client_of, go, history_of, openai, poll
from tests.support.server import Server, serve


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(APP, "--store", "memory://") as served:
        yield served


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with client_of(server) as made:
        yield made


def test_chain_survives_a_crash_of_the_server(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/chat.db"
    with serve(APP, "--store", store) as server, client_of(server) as client:
        first = ask(client, "say a", metadata={"a": "b"})
        left = ask(client, "say b", previous_response_id=first.id)
        running = ask(client, f"hold {tmp_path} c", background=True, previous_response_id=first.id)
        poll(client, running.id, "in_progress")
        server.kill()
    with serve(APP, "--store", store) as server, client_of(server) as client:
        assert client.responses.retrieve(first.id).to_dict() == first.to_dict()
        assert [text for _, text in history_of(client, previous_response_id=left.id)] == ["say a", "a", "say b", "b"]
        assert [text for _, text in history_of(client, previous_response_id=first.id)] == ["say a", "a"]
        broken = client.responses.retrieve(running.id)
        assert (broken.status, broken.error.code) == ("failed", "interrupted")
        last = list(client.responses.retrieve(running.id, stream=True, starting_after=6))[-1]
        assert (last.type, last.response.status) == ("response.failed", "failed")


# --- background, resuming, cancelling ----------------------------------------------------------------------------


def test_background_response_is_polled(client: Any, tmp_path: Path) -> None:
    response = ask(client, f"hold {tmp_path} three", background=True)
    assert (response.status, response.background) == ("in_progress", True)
    for _ in range(POLLS):
        so_far = client.responses.retrieve(response.id)
        if so_far.output_text:
            break
    assert (so_far.output_text, so_far.status, so_far.usage) == ("one two", "in_progress", None)
    go(tmp_path)
    assert poll(client, response.id, "completed").output_text == "one two three"


@pytest.mark.parametrize("is_background", [True, False])
def test_stream_that_was_cut_resumes_without_gap_or_repeat(client: Any, tmp_path: Path, is_background: bool) -> None:
    seen = []
    with ask(client, f"hold {tmp_path} three", background=is_background, stream=True) as stream:
        for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                break
    go(tmp_path)
    response_id, cursor = seen[0].response.id, seen[-1].sequence_number
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=cursor))
    whole = list(client.responses.retrieve(response_id, stream=True))
    assert [event.to_dict() for event in [*seen, *rest]] == [event.to_dict() for event in whole]
    assert whole[-1].response.output_text == "one two three"
    with client.responses.stream(response_id=response_id, starting_after=cursor) as helped:
        assert [event.sequence_number for event in helped] == [event.sequence_number for event in rest]
        assert helped.get_final_response().output_text == "one two three"


def test_cancelled_response_keeps_what_it_said(client: Any, tmp_path: Path) -> None:
    with ask(client, f"hold {tmp_path} three", background=True, stream=True) as stream:
        events = iter(stream)
        started = next(events).response
        while next(events).type != "response.output_text.delta":
            pass
        cancelled = client.responses.cancel(started.id)
        last = list(events)[-1]
    assert (cancelled.status, cancelled.output_text) == ("cancelled", "one two")
    assert (last.type, last.response.status) == ("response.incomplete", "cancelled")
    assert client.responses.cancel(started.id).status == "cancelled"
    assert client.responses.retrieve(started.id).output[0].status == "incomplete"


def test_cancelling_a_completed_response_changes_nothing(client: Any) -> None:
    done = ask(client, "say hi")
    assert client.responses.cancel(done.id).to_dict() == done.to_dict()


def test_response_that_runs_cannot_be_followed_yet(client: Any, tmp_path: Path) -> None:
    running = ask(client, f"hold {tmp_path} three", background=True)
    with pytest.raises(openai.ConflictError) as error:
        ask(client.with_options(max_retries=0), "say b", previous_response_id=running.id)
    assert error.value.code == "previous_response_in_progress"
    go(tmp_path)
    poll(client, running.id, "completed")
    assert history_of(client, previous_response_id=running.id)[1] == ["assistant", "one two three"]


def test_branches_asked_for_at_once_wait_for_one_another(client: Any, tmp_path: Path) -> None:
    first = ask(client, "say a")
    left = ask(client, f"hold {tmp_path} three", background=True, previous_response_id=first.id)
    right = ask(client, "history", background=True, previous_response_id=first.id)
    assert right.status == "queued"
    go(tmp_path)
    assert poll(client, left.id, "completed").output_text == "one two three"
    assert json.loads(poll(client, right.id, "completed").output_text) == [["user", "say a"], ["assistant", "a"]]
    kinds = [event.type for event in client.responses.retrieve(right.id, stream=True)]
    assert kinds[:3] == ["response.created", "response.queued", "response.in_progress"]


def test_background_needs_a_store(client: Any) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, "say hi", background=True, store=False)
    assert error.value.param == "background"


# --- deleting ------------------------------------------------------------------------------------------------------


def test_deleted_response_is_gone_and_the_chain_goes_on(client: Any, server: Server) -> None:
    raw = client.responses.with_raw_response.create(model="assistant", input="say a")
    session_id, first = raw.headers["x-session-id"], raw.parse()
    second = ask(client, "say b", previous_response_id=first.id)
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError):
        ask(client, "say c", previous_response_id=first.id)
    assert len(history_of(client, previous_response_id=second.id)) == 4
    third = json.loads(server.get(f"/sessions/{session_id}/messages").text)["items"][-1]["turn_id"]
    client.responses.delete(second.id)
    client.responses.delete(f"resp_{third.removeprefix('t_')}")
    assert server.get(f"/sessions/{session_id}").status_code == 404


def test_deleting_a_running_response_stops_it(client: Any, tmp_path: Path) -> None:
    running = ask(client, f"hold {tmp_path} three", background=True)
    client.responses.delete(running.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(running.id)


def test_conversation_stays_when_its_last_response_is_deleted(client: Any) -> None:
    conversation = client.conversations.create()
    response = ask(client, "say a", conversation=conversation.id)
    client.responses.delete(response.id)
    assert client.conversations.retrieve(conversation.id).id == conversation.id
    assert len(list(client.conversations.items.list(conversation.id))) == 2


# --- conversations -------------------------------------------------------------------------------------------------


def test_conversation_is_created_read_changed_and_deleted(client: Any) -> None:
    made = client.conversations.create(metadata={"topic": "a"}, items=[{"role": "user", "content": "hi"}])
    assert (made.object, made.metadata) == ("conversation", {"topic": "a"})
    assert client.conversations.retrieve(made.id) == made
    assert client.conversations.update(made.id, metadata={"topic": "b"}).metadata == {"topic": "b"}
    deleted = client.conversations.delete(made.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (made.id, "conversation.deleted", True)
    with pytest.raises(openai.NotFoundError) as error:
        client.conversations.retrieve(made.id)
    assert error.value.code == "conversation_not_found"


def test_responses_join_a_conversation(client: Any, server: Server) -> None:
    conversation = client.conversations.create()
    first = ask(client, "say a", conversation=conversation.id)
    assert first.conversation.id == conversation.id
    assert history_of(client, conversation={"id": conversation.id}) == [["user", "say a"], ["assistant", "a"]]
    session = server.get(f"/sessions/s_{conversation.id.removeprefix('conv_')}/messages").json()
    assert [message["content"] for message in session["items"]][:2] == ["say a", "a"]


def test_conversation_may_be_a_key_of_the_clients_own(client: Any) -> None:
    ask(client, "say a", conversation="my own thread")
    second = ask(client, "history", conversation="my own thread")
    assert json.loads(second.output_text) == [["user", "say a"], ["assistant", "a"]]
    assert client.conversations.retrieve(second.conversation.id).id == second.conversation.id


def test_items_are_listed_in_pages(client: Any) -> None:
    said = [{"role": "user", "content": str(number)} for number in range(5)]
    conversation = client.conversations.create(items=said)
    page = client.conversations.items.list(conversation.id, limit=2)
    assert [item.content[0].text for item in page.data] == ["4", "3"]
    assert [item.content[0].text for item in page] == ["4", "3", "2", "1", "0"]
    ordered = client.conversations.items.list(conversation.id, order="asc", limit=3)
    assert [item.content[0].text for item in ordered] == ["0", "1", "2", "3", "4"]


def test_items_are_added_read_and_removed(client: Any) -> None:
    conversation = client.conversations.create(items=[{"role": "user", "content": "a"}])
    added = client.conversations.items.create(
        conversation.id,
        items=[{"role": "assistant", "content": "b"}, {"type": "message", "role": "user", "content": "c"}],
    )
    first, second = added.data
    assert client.conversations.items.retrieve(first.id, conversation_id=conversation.id).content[0].text == "b"
    assert client.conversations.items.delete(first.id, conversation_id=conversation.id).id == conversation.id
    left = client.conversations.items.list(conversation.id, order="asc")
    assert [item.content[0].text for item in left] == ["a", "c"]
    with pytest.raises(openai.NotFoundError) as error:
        client.conversations.items.retrieve(first.id, conversation_id=conversation.id)
    assert error.value.code == "item_not_found"
    assert history_of(client, conversation=conversation.id) == [["user", "a"], ["user", "c"]]
    assert second.content[0].type == "input_text"


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/conversations/{conversation}/items?order=up", "order"),
        ("/conversations/{conversation}/items?limit=101", "limit"),
        ("/conversations/{conversation}/items?limit=many", "limit"),
        ("/conversations/{conversation}/items?after=msg_none", "after"),
        ("/responses/{response}/input_items?limit=0", "limit"),
        ("/responses/{response}?stream=true&starting_after=-1", "starting_after"),
    ],
)
def test_wrong_part_of_an_address_is_named(client: Any, path: str, param: str) -> None:
    conversation, response = client.conversations.create().id, ask(client, "say hi").id
    with pytest.raises(openai.BadRequestError) as error:
        client.get(path.format(conversation=conversation, response=response), cast_to=object)
    assert error.value.param == param


@pytest.mark.parametrize(("body", "param"), [({"metadata": "a"}, "metadata"), ({"items": "a"}, "items")])
def test_wrong_field_of_a_conversation_is_named(client: Any, body: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.conversations.create(**body)
    assert error.value.param == param


def test_unknown_conversation_is_not_found(client: Any) -> None:
    for message in ("hi", [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]):
        with pytest.raises(openai.NotFoundError) as asked:
            ask(client, message, conversation="conv_none")
        assert (asked.value.code, asked.value.param) == ("conversation_not_found", "conversation")
    with pytest.raises(openai.NotFoundError) as error:
        client.conversations.items.create("conv_none", items=[{"role": "user", "content": "a"}])
    assert error.value.code == "conversation_not_found"


def test_stream_of_an_address_begins_at_its_start_without_a_number(client: Any) -> None:
    response = ask(client, "say hi")
    events = client.responses.with_raw_response.retrieve(
        response.id, extra_query={"stream": "true", "starting_after": ""}
    )
    assert events.text.startswith("event: response.created\n")
