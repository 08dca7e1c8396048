"""Backends: an endpoint that misbehaves in every way, answers kept and replayed, models of the libraries."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dissect import open_probe
from dissect.backends.answers import AnswerStore, RememberedCaptioner, RememberedModel, RememberedPictures, cleaned
from dissect.backends.budget import CallBudget, CallsSpentError
from dissect.backends.endpoint import KEY, BackendError, ChatEndpoint
from dissect.backends.in_order import in_order
from dissect.backends.loading import endpoint_of
from dissect.backends.protocols import Request, parallel
from dissect.backends.text_to_image import Diffusion, Painter, Retrieval
from dissect.backends.word_statistics import WordStatistics
from dissect.optional import needed

ASKED = Request("Summarise.", ("a red boat on a beach", "two red boats"), examples=((("blue", "navy"), "blue things"),))


@pytest.fixture
def online(monkeypatch):
    """Tests are offline; a server on this machine may be asked."""
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: False)


def completion(text):
    return json.dumps(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        }
    ).encode()


@pytest.fixture
def server():
    """A real server that gives the next of `answers` (status, body, seconds of silence) to each request it keeps."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.seen.append((self.path, self.headers, json.loads(body)))
            status, said, silence = self.server.answers.pop(0)
            time.sleep(silence)
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(said) + 50 * (status == 206)))  # 206: cut off here
                if status == 429:
                    self.send_header("Retry-After", "7")
                self.end_headers()
                self.wfile.write(said)
            except OSError:
                pass  # the client has gone

        def log_message(self, *about):
            """Nothing on the terminal of the tests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.answers = [], []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def endpoint(server, online):
    waits = []
    made = ChatEndpoint(f"http://127.0.0.1:{server.server_port}/v1", "m", timeout=0.5, retries=2, wait=waits.append)
    made.waits = waits
    return made


def test_a_request_goes_out_as_a_chat_with_the_key_of_the_environment(server, online, monkeypatch):
    monkeypatch.setenv(KEY, "secret")
    server.answers = [(200, completion("red boats"), 0)]
    endpoint = ChatEndpoint(f"http://127.0.0.1:{server.server_port}/v1", "m")
    assert endpoint.answer(ASKED, temperature=0.3, draw=2) == "red boats"
    path, headers, body = server.seen[0]
    assert path == "/v1/chat/completions" and headers["Authorization"] == "Bearer secret"
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][2]["content"] == "Summarise.\n\n- a red boat on a beach\n- two red boats"
    assert (body["model"], body["temperature"], body["seed"]) == ("m", 0.3, 2) and "secret" not in endpoint.identity


def test_a_picture_is_sent_along_for_a_caption(server, endpoint):
    server.answers = [(200, completion("a boat"), 0)]
    assert endpoint.caption([Image.new("RGB", (4, 4), "red")]) == ["a boat"]
    content = server.seen[0][2]["messages"][0]["content"]
    assert content[1]["image_url"]["url"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("first", "waits"),
    [
        ((429, b"{}", 0), 7.0),
        ((500, b"oops", 0), None),
        ((503, b"", 0), None),
        ((200, completion("late"), 1.0), None),
        ((206, completion("cut off"), 0), None),
        ((200, b"<html>no json</html>", 0), None),
        ((200, b'{"choices": []}', 0), None),
        ((200, b"[1, 2]", 0), None),
        ((200, completion("  "), 0), None),
        ((200, completion(None), 0), None),
    ],
    ids=["429", "500", "503", "slow", "cut off", "no json", "no choices", "a list", "empty", "null"],
)
def test_after_a_failure_it_waits_and_asks_again(server, endpoint, first, waits):
    server.answers = [first, (200, completion("a boat"), 0)]
    assert endpoint.answer(ASKED) == "a boat"
    assert len(endpoint.waits) == 1 and (endpoint.waits[0] == waits if waits else 0.7 < endpoint.waits[0] < 1.3)


def test_it_gives_up_and_says_so(server, endpoint):
    server.answers = [(500, b"", 0)] * 3
    with pytest.raises(BackendError, match=r"Expected an answer of 'm' at http.* but got status 500, 3 times; .* kept"):
        endpoint.answer(ASKED)
    server.answers = [(401, b"{}", 0)]
    with pytest.raises(BackendError, match=f"but got status 401; check the URL, .* the key in {KEY}"):
        endpoint.answer(ASKED)


def test_new_questions_are_limited_and_old_ones_free(tmp_path):
    class Counting:
        identity, asked = "counting", 0

        def answer(self, request, *, temperature=0.0, draw=0):
            self.asked += 1
            return "a boat"

        def caption(self, pictures):
            self.asked += len(pictures)
            return ["a palm"] * len(pictures)

    model, store = Counting(), AnswerStore(tmp_path, CallBudget(4))
    remembered, captioner = RememberedModel(model, store), RememberedCaptioner(model, store)
    pictures = [Image.new("RGB", (4, 4), colour) for colour in ("red", "green", "blue", "white")]
    assert remembered.answer(ASKED) == remembered.answer(ASKED) == "a boat" and model.asked == 1
    with pytest.raises(CallsSpentError, match="Expected at most 4 calls of models and they are used up"):
        captioner.caption(pictures)
    assert model.asked == 4 and captioner.caption(pictures[:3]) == ["a palm"] * 3, "three were answered and kept"
    with pytest.raises(CallsSpentError):
        remembered.answer(ASKED, draw=1)
    more = RememberedCaptioner(model, AnswerStore(tmp_path, CallBudget(1)))
    assert more.caption(pictures) == ["a palm"] * 4 and model.asked == 5


def test_what_is_asked_at_once_comes_in_its_order_and_each_question_is_asked_once(tmp_path):
    together = threading.Barrier(3, timeout=20)  # all three are asked at the same time, or the test fails

    class Waiting:
        identity, parallel, asked = "waiting", 3, 0

        def answer(self, request, *, temperature=0.0, draw=0):
            together.wait()
            type(self).asked += 1
            return request.texts[0]

    remembered = RememberedModel(Waiting(), AnswerStore(tmp_path))
    assert parallel(remembered) == 3 and parallel(WordStatistics()) == 1
    asked = [Request("say", (text,)) for text in ("b", "a", "b", "c")]
    assert list(in_order(remembered.answer, asked, workers=4)) == ["b", "a", "b", "c"] and Waiting.asked == 3


def test_captions_of_an_endpoint_are_kept_one_by_one(server, endpoint, tmp_path):
    """Of three pictures the third fails: the first two are not asked about again."""
    captioner = RememberedCaptioner(endpoint, AnswerStore(tmp_path))
    pictures = [Image.new("RGB", (4, 4), (i, 0, 0)) for i in range(3)]
    server.answers = [(200, completion("a boat"), 0), (200, completion("a palm"), 0), (401, b"{}", 0)]
    with pytest.raises(BackendError, match="status 401"):
        captioner.caption(pictures)
    server.answers = [(200, completion("a wave"), 0)]
    assert captioner.caption(pictures) == ["a boat", "a palm", "a wave"]


def test_what_a_safety_checker_blackens_is_no_picture_of_a_phrase():
    made = Diffusion.__new__(Diffusion)
    flags = iter([[False], [True], None])
    made.pipeline = lambda prompt, generator: SimpleNamespace(
        images=[(prompt, generator.initial_seed())], nsfw_content_detected=next(flags)
    )
    assert made.draw("a boat", 3) == [("One realistic image of a boat", seed) for seed in (0, 2)]


def test_no_server_is_told(endpoint, server):
    gone = ChatEndpoint("http://127.0.0.1:9/v1", "m", retries=1, wait=lambda seconds: None)
    with pytest.raises(BackendError, match=r"Expected an answer of 'm' at http://127.0.0.1:9/v1 but got \w+, 2 times"):
        gone.answer(ASKED)


def test_offline_mode_is_told_at_once(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: True)
    with pytest.raises(BackendError, match="HF_HUB_OFFLINE is set: unset it to ask an endpoint"):
        ChatEndpoint("http://127.0.0.1:9/v1", "m").answer(ASKED)


@pytest.mark.parametrize("name", ["http://host/v1", "https://user:key@host/v1#m"])
def test_an_endpoint_is_a_url_and_a_model_without_a_key(name):
    with pytest.raises(ValueError, match="Expected an endpoint as URL#MODEL, without a key in it"):
        endpoint_of(name)
    assert endpoint_of("some/model") is None and endpoint_of("https://host/v1#m").model == "m"


class Counting:
    """A backend of every kind that counts how often it is asked."""

    identity = "counting"

    def __init__(self, says="a boat"):
        self.asked, self.says = 0, says

    def answer(self, request, *, temperature=0.0, draw=0):
        self.asked += 1
        return f"{self.says} {draw}"

    def caption(self, pictures):
        self.asked += len(pictures)
        return [f"{self.says} {picture.getpixel((0, 0))}" for picture in pictures]

    def draw(self, phrase, count):
        self.asked += 1
        return [Image.new("RGB", (3, 3), (i, 0, 0)) for i in range(count)]


def test_answers_are_replayed_without_asking(tmp_path):
    store = AnswerStore(tmp_path / "answers")
    pictures = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    first = Counting()
    said = RememberedModel(first, store).answer(ASKED, draw=1)
    captions = RememberedCaptioner(first, store).caption(pictures)
    drawn = RememberedPictures(first, store).draw("boat", 2)
    second = Counting()
    assert RememberedModel(second, store).answer(ASKED, draw=1) == said == "a boat 1"
    assert RememberedCaptioner(second, store).caption([*pictures[::-1]]) == captions[::-1]
    again = RememberedPictures(second, store).draw("boat", 2)
    assert [picture.tobytes() for picture in again] == [picture.tobytes() for picture in drawn]
    assert second.asked == 0
    assert RememberedModel(second, store).answer(ASKED, draw=2) == "a boat 2" and second.asked == 1
    RememberedCaptioner(second, store).caption([pictures[0], Image.new("RGB", (2, 2), "green")])
    assert second.asked == 2, "only the new picture is asked about"


def test_a_damaged_answer_is_asked_for_again(tmp_path):
    store = AnswerStore(tmp_path)
    RememberedModel(Counting(), store).answer(ASKED)
    (path,) = tmp_path.rglob("*.json")
    for damage in ('{"format": 1, "te', '{"format": 1, "texts": [3]}', '{"format": 9, "texts": ["x"]}', "[]"):
        path.write_text(damage)
        again = Counting()
        assert RememberedModel(again, store).answer(ASKED) == "a boat 0" and again.asked == 1
    RememberedPictures(Counting(), store).draw("boat", 1)
    next(tmp_path.rglob("*.png")).write_bytes(b"no picture")
    again = Counting()
    assert len(RememberedPictures(again, store).draw("boat", 1)) == 1 and again.asked == 1


def test_a_hostile_answer_is_one_line_of_printable_text(server, endpoint, tmp_path):
    hostile = "../../etc\n\x1b[31m<script>alert(1)</script>\u202e" + "x" * 1000
    server.answers = [(200, completion(hostile), 0)]
    said = RememberedModel(endpoint, AnswerStore(tmp_path)).answer(ASKED)
    assert said.startswith("../../etc [31m<script>") and len(said) <= 400 and said.isprintable()
    (path,) = tmp_path.rglob("*.json")
    assert path.stem.isalnum() and path.parent.name == path.stem[:2]
    assert cleaned("\x00 \n") == ""


def test_word_statistics_count_and_say_that_they_are_no_model():
    words = WordStatistics()
    texts = ("a red boat on a beach", "two red boats, a palm", "the beach and a boat")
    assert words.answer(Request("any", texts)) == "boat" and words.answer(Request("any", texts), draw=1) == "beach"
    assert words.answer(Request("any", ("a red boat",))) == "a red boat" and "no language model" in words.identity
    assert words.answer(Request("any", ("", ","))) == ""


def test_the_painter_draws_what_it_knows_and_nothing_else():
    red, blue = (Painter(32).draw(f"{colour} balloon", 6) for colour in ("red", "blue"))
    redness = [sum(np.asarray(picture)[:, :, 0].mean() for picture in some) for some in (red, blue)]
    assert len(red) == 6 and redness[0] > redness[1] and Painter().draw("justice", 3) == []
    assert [p.tobytes() for p in Painter(32).draw("red balloon", 6)] == [p.tobytes() for p in red]


def test_retrieval_finds_the_nearest_pictures_and_nothing_for_words_it_cannot_read(tmp_path):
    for i, colour in enumerate(("red", "green", "blue")):
        Image.new("RGB", (4, 4), colour).save(tmp_path / f"{i}.png")

    class Colours:
        identity = "colours"

        def encode_images(self, probe):
            return torch.eye(3)

        def encode_texts(self, concepts):
            if concepts.names[0] not in ("red", "green", "blue"):
                raise ValueError("unknown")
            return torch.eye(3)[[("red", "green", "blue").index(concepts.names[0])]]

    found = Retrieval(open_probe(tmp_path), Colours())
    assert found.draw("blue", 1)[0].getpixel((0, 0)) == (0, 0, 255) and found.draw("pink", 2) == []


def test_a_missing_library_is_named_with_the_command():
    with pytest.raises(ModuleNotFoundError, match=r"'no_such_library' but .* pip install 'lwta\[diffusion\]'"):
        needed("no_such_library", "diffusion")
