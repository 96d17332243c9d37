"""kill -9 in the middle of mail coming in: clients that try until they have their 250, and who kills
roles, all of them, or one at a named point, while they do."""

import os
import queue
import threading
import time

import processes
import wire

CLIENTS = 4
ROUND_S = 60


class Clients:
    """Threads that each take a message from the queue and try until it has its 250. A message has
    octets, id, sender, recipients and tries."""

    def __init__(self, server):
        self.server = server
        self.waiting = queue.Queue()
        self.changed = threading.Condition()
        self.accepted = 0
        self.failure = None
        self.on_accept = None  # called with the number of messages accepted in this round
        for _ in range(CLIENTS):
            threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        session = None
        while True:
            message = self.waiting.get()
            deadline = time.monotonic() + ROUND_S
            while True:
                message.tries += 1
                session = self.attempt(message, session)
                if session is not None:
                    break
                if time.monotonic() > deadline:
                    self.fail(f"{message.id} not accepted within {ROUND_S} s")
                    return

    def attempt(self, message, session):
        """One try; the session that had success, or None."""
        try:
            if session is None:
                session = wire.Smtp(self.server.address("smtp"))
                session.greet()
            reply = session.message(message.octets, message.recipients, message.sender)
        except (OSError, AssertionError):  # the connection broke, or it greets with 421
            reply = None
        if reply is not None and reply.startswith("250"):
            self.count()
            return session
        if reply is not None and reply.startswith("5"):
            self.fail(f"{message.id}: {reply}")
        if session is not None:
            session.socket.close()
        time.sleep(0.01)  # a client's pause before it tries again
        return None

    def count(self):
        with self.changed:
            self.accepted += 1
            if self.on_accept:
                self.on_accept(self.accepted)
            self.changed.notify_all()

    def fail(self, words):
        with self.changed:
            self.failure = self.failure or words
            self.changed.notify_all()

    def send(self, messages, on_accept=None):
        """Gives them out, returns when all are accepted."""
        with self.changed:
            self.accepted = 0
            self.on_accept = on_accept
        for message in messages:
            self.waiting.put(message)
        with self.changed:
            self.changed.wait_for(lambda: self.failure or self.accepted == len(messages),
                                  ROUND_S + 20)
            assert not self.failure, self.failure
            assert self.accepted == len(messages), "a client hangs"


class Killer:
    """points: {name: (role, system call at whose start it gets its SIGKILL)}. kills: whom each kill
    met, and between which times of the monotonic clock that was."""

    def __init__(self, server, clients, chance, points):
        self.server, self.clients, self.chance, self.points = server, clients, chance, points
        self.done = {}
        self.kills = []

    def note(self, whom, begin):
        self.kills.append((whom, begin, time.monotonic()))

    def round(self, kind, what, messages):
        label = what if kind == "point" else f"{kind} {what}" if what else kind
        killed = getattr(self, f"round_{kind.replace(' ', '_')}")(what, messages)
        if killed:
            self.done[label] = self.done.get(label, 0) + 1
        return killed

    def round_role(self, role, messages):
        """The role dies when the n-th message has just been accepted, others on their way."""
        return self.kill_after(self.chance.randrange(len(messages) // 2), messages,
                               lambda: self.kill_role(role))

    def one_of(self, role):
        """Where there are several, any of them."""
        return self.chance.choice(processes.names_of(self.server, role) or [role])

    def kill_role(self, role):
        begin = time.monotonic()
        pid = processes.kill_role(self.server, self.one_of(role))
        self.note(role, begin)
        return pid

    def kill_after(self, count, messages, kill):
        killed = []
        if count == 0:
            killed.append(kill())
            self.clients.send(messages)
        else:
            self.clients.send(messages, lambda n: n == count and killed.append(kill()))
        return killed[0] is not None

    def round_after_reply(self, role, messages):
        """The client has read its 250, and has not said anything since."""
        return self.kill_after(1, messages, lambda: self.kill_role(role))

    def round_point(self, point, messages):
        role, call = self.points[point]
        pid = processes.wait_for_role(self.server, self.one_of(role))
        when = self.chance.randrange(1, 5 if call != "sendto" else 40)
        begin = time.monotonic()
        with processes.Strace([pid], "-e", f"trace={call}", "-e",
                              f"inject={call}:signal=KILL:when={when}") as killer:
            self.clients.send(messages)
            if not killer.ended(0):
                return False
            self.note(role, begin)
            return True

    def round_warden(self, _, messages):
        """Who loses the warden ends; then the whole is started again."""
        return self.restart(messages, lambda: os.kill(self.server.process.pid, 9))

    def round_all(self, _, messages):
        return self.restart(messages, self.server.kill)

    def restart(self, messages, kill):
        killed = threading.Event()

        def start_again():
            killed.wait()
            everybody = processes.Watched(processes.descendants(self.server.process.pid))
            begin = time.monotonic()
            kill()
            everybody.wait()
            self.note("all", begin)
            self.server.kill()  # what is left of it
            self.server.start()

        starter = threading.Thread(target=start_again)
        starter.start()
        self.clients.send(messages, lambda n: n == self.first_count(messages) and killed.set())
        starter.join()
        return True

    def first_count(self, messages):
        return 1 + len(messages) // 4
