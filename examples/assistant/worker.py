"""A worker: it takes the next message, answers or sends it, and ends the scopes that are done with."""

import multiprocessing
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from examples.assistant.channel import send
from examples.assistant.handover import handed_over, refs_in, shared, without_refs
from examples.assistant.media import HISTORY, INBOUND, KEEP, OUTBOUND, TURN, open_media, scope_of
from examples.assistant.outside import Line
from examples.assistant.queues import Message, Outcome, Queues, Taker
from examples.assistant.tools import Toolbox

from mediakeep import MediaStore
from mediakeep.messages import externalize, inline

IDLE_SECONDS = 0.03
MOST_STEPS = 8


def work(folder: Path, name: str, port: int) -> None:
    """Work until SIGTERM, or until the process that started us is gone. SIGKILL is fine at any time."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then stops us
    parent = multiprocessing.parent_process()
    taker = Taker(folder, name)
    with open_media(folder) as store, Queues(folder) as queues:
        store.start()  # each worker sweeps: any number of them may
        worker = Worker(store, queues, Line(port), name)
        while not stop.is_set() and (parent is None or parent.is_alive()):
            message = queues.take(taker)
            if message is None:
                stop.wait(IDLE_SECONDS)
            else:
                worker.handle(message)
    taker.close()


class Worker:
    """What is done with a message, whichever delivery of it this is."""

    def __init__(self, store: MediaStore, queues: Queues, line: Line, name: str) -> None:
        self._store = store
        self._queues = queues
        self._line = line
        self._name = name

    # --8<-- [start:handle]
    def handle(self, message: Message) -> None:
        """Bring a message from the state that it is in to `done`."""
        ends = message.ends
        if ends is None:
            outcome = self.answer(message) if message.queue == "inbound" else self._send(message)
            self._queues.handled(message, outcome)
            ends = outcome.ends
        for scope in ends:
            self._store.release_all(scope, nested=True)
        self._queues.done(message)

    # --8<-- [end:handle]

    # --8<-- [start:answer]
    def answer(self, message: Message) -> Outcome:
        """Run the turn of a message: ask the model, do what it calls for, until it has said all."""
        chat, store = message.chat, self._store
        turn, history, kept, outbound = (
            scope_of(stage, chat, message.id) for stage in (TURN, HISTORY, KEEP, OUTBOUND)
        )
        if message.deliveries > 1:
            # Whoever had it died in the middle: what it had begun ends before we begin anew.
            self._note(f"takes {message.id} of {chat} again, and ends what was half done")
            for scope in (turn, history, kept, outbound):
                store.release_all(scope)
        else:
            self._note(f"takes {message.id} of {chat}")
        toolbox = Toolbox(store, message)
        before = self._queues.history(chat)
        inbound = scope_of(INBOUND, chat, message.id)
        came = shared(message.body["media"], store, turn, inbound)
        said: list[Any] = [_from_user(message.body["text"], came)]
        for _ in range(MOST_STEPS):
            with ExitStack() as hold:
                sent = inline([*before, *said], store, provider="anthropic", tags=["audio"], hold=hold)
                reply = self._line.ask(message, sent)
                said.append(externalize(reply, store, turn, source="model"))
                calls = [part for part in reply["content"] if part["type"] == "tool_use"]
                if not calls:
                    break
                self._note(f"for {message.id}: " + ", ".join(call["name"] for call in calls))
                said.append({"role": "user", "content": [toolbox.use(call) for call in calls]})
        words = " ".join(part["text"] for part in said[-1]["content"] if part["type"] == "text")
        words = words or f"I have not come to an end in {MOST_STEPS} steps."
        conversation = f"{HISTORY}:{chat}"
        media = handed_over(refs_in(words), store, outbound, turn, conversation)
        answer = {"text": without_refs(words), "media": list(media.values())}
        if toolbox.goodbye:
            return Outcome((turn, inbound, conversation), [], answer)
        return Outcome((turn, inbound), [*before, *shared(said, store, history, turn)], answer)

    # --8<-- [end:answer]

    def _send(self, message: Message) -> Outcome:
        again = " again" if message.deliveries > 1 else ""
        self._note(f"sends {message.id} to {message.chat}{again}")
        return send(self._store, self._line, message)

    def _note(self, what: str) -> None:
        self._queues.note(self._name, what)


def _from_user(text: str, media: list[dict[str, str]]) -> dict[str, Any]:
    """Return the message of a user as the model is told it: each medium, and its name and ref."""
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    for medium in media:
        content.append({"type": "text", "text": f"{medium['name']}: {medium['ref']}"})
        if medium["type"].startswith("audio/"):
            content.append({"type": "audio", "data": medium["ref"], "mimeType": medium["type"]})
        else:
            source = {"type": "base64", "media_type": medium["type"], "data": medium["ref"]}
            content.append({"type": "image", "source": source})
    return {"role": "user", "content": content}
