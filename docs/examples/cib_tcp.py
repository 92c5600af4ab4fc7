#!/usr/bin/python3
"""Follows a session of claude-in-box over raw TCP without TLS, and speaks in it.

Shows "Links without TLS: CIB1" of docs/PROTOCOL.md, all but X25519; section titles are in quotation marks here. Needs
Debian's python3-cryptography and python3-cbor2, and CIB_DEVICE_KEY="<key.id>:<key.secret>" as in "A device's key".
    cib_tcp.py 192.168.1.5:8081 <session>                           # follows from now on, until ctrl-C
    cib_tcp.py 192.168.1.5:8081 <session> --say "Run date" --allow
A frame is one line of JSON, as in the box's log; a seq that comes again (after the verdict `ahead`) replaces what was
printed from it on. Exit codes: 0 done, 1 it did not work, 2 the command line was wrong."""
import argparse, contextlib, hmac, io, json, os, random, re, select, signal, socket, struct, sys, time, uuid
import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ACCEPT, KEEP_ALIVE_S, DEAD_S, FIRST_WAIT_S, LONGEST_WAIT_S = 16384, 25, 90, 0.25, 15
# docs/frames.cddl: the types from 1 on, each with the names of its fields from 0 on; pty.raw comes only when asked for
FRAMES = ["", "text.delta text message agent", "thinking text message agent", "tool.use.start id tool input agent",
    "tool.use.result id tool output error duration_ms agent", "todo.update items",
    "ask.question id of kind prompt options multiSelect tool input summary expires_at", "ask.answer id answer by",
    "usage input output cache_read cache_write model cost_usd", "status state elapsed_ms limit_resets_at", "stop reason",
    "meta model workdir title engine auth version permission_mode effort claude_session note",
    "hook name event payload result", "input id by text state input reason", "error code message"]
INNER = {"items": "id subject status activeForm", "options": "label description"}


def mac(key, *parts):
    return hmac.digest(key, b"".join(parts), "sha256")


class Link:
    """One connection: the handshake, then records both ways. Any OSError ends it."""
    def __init__(self, address, key, counters):
        """"The handshake over TCP", with "Keys"."""
        self.buffer, self.sent, self.received, self.heard_at = b"", 0, 0, time.monotonic()
        self.socket = socket.create_connection(address, timeout=10)
        prk0 = mac(b"claude-in-box link v1".ljust(32, b"\0"), key[8:])
        rc = mac(prk0, b"\x00", counters, os.urandom(16))[:16]
        hello = struct.pack(">4sBBH", b"CIB1", 0, 1, ACCEPT) + key[:8] + rc
        hello += mac(prk0, b"\x01", hello)[:16]
        self.socket.sendall(hello)
        while len(self.buffer) < 40:
            self.receive()
        reply, self.buffer = self.buffer[:40], self.buffer[40:]
        proven = hmac.compare_digest(reply[24:], mac(prk0, b"\x02", hello, reply[:24])[:16])
        self.accepted = int.from_bytes(reply[6:8], "big")
        if not proven or reply[:6] != b"CIB1\0\1" or self.accepted < 128:
            raise ConnectionError("the reply is not that of a box with this key")
        prk1 = mac(prk0, b"\x03", hello, reply)
        self.to_box, self.from_box = AESGCM(mac(prk1, b"\x10")), AESGCM(mac(prk1, b"\x11"))

    def receive(self):
        if not (piece := self.socket.recv(65536)):
            raise ConnectionError("closed without a bye")
        self.buffer += piece

    def send(self, *items):
        """"Records": one with these items; without any it only keeps the link alive."""
        plain = b"".join(cbor2.dumps(item) for item in items)
        if len(plain) > self.accepted:
            raise SystemExit(f"cib_tcp: longer than the {self.accepted} bytes that the box takes: say it over HTTP")
        length, nonce = struct.pack(">H", len(plain)), struct.pack(">QI", 0, self.sent)
        self.sent, self.sent_at = self.sent + 1, time.monotonic()  # first, so that nothing can use a nonce twice
        self.socket.sendall(length + self.to_box.encrypt(nonce, plain, length))

    def items(self):
        """"Records": every CBOR item as it comes, with "Keeping alive" meanwhile."""
        while True:
            due = self.sent_at + KEEP_ALIVE_S - time.monotonic()
            if due <= 0:
                self.send()
            elif select.select([self.socket], [], [], due)[0]:
                self.receive()
            if time.monotonic() > self.heard_at + DEAD_S:
                raise ConnectionError("nothing came for too long")
            while len(self.buffer) >= 2 and len(self.buffer) >= (size := int.from_bytes(self.buffer[:2], "big") + 18):
                record, self.buffer = self.buffer[:size], self.buffer[size:]
                plain = self.from_box.decrypt(struct.pack(">QI", 0, self.received), record[2:], record[:2])
                self.received, self.heard_at = self.received + 1, time.monotonic()
                stream = io.BytesIO(plain)
                while stream.tell() < len(plain):
                    yield cbor2.load(stream)


class Follower:
    """One session, over as many links as it takes."""
    def __init__(self, options):
        self.session, self.decision, self.wait = options.session.bytes, options.decision, FIRST_WAIT_S
        self.position = {} if options.start is None else {"from": options.start}
        self.parts, self.pending, self.began, self.history, self.link = [], {}, False, None, None
        self.said = self.keep("input", text=options.say)["id"] if options.say else ""

    def keep(self, cmd, **fields):
        """"Nothing twice": a command has an id of its own, and is kept until its reply has come."""
        command = {"cmd": cmd, "id": str(uuid.uuid4()), "session": self.session, **fields}
        self.pending[command["id"]] = command
        return command

    def follow(self, link):
        self.link = link
        link.send({"cmd": "attach", "id": "attach", "session": self.session, **self.position})
        for item in link.items():
            if isinstance(item, list):
                self.frame(*item[:5])
            elif isinstance(item, dict):  # anything else is of a later version
                self.message(item)

    def message(self, item):
        """What is no frame: the tables of "Records" and of "Keeping alive, ending, coming back"."""
        if "gap" in item or item.get("verdict", "ok") != "ok":
            print("cib_tcp:", item, file=sys.stderr)
        if item.get("error", {}).get("code", "stopping") != "stopping":  # a box that stops is asked again on the next link
            raise SystemExit(f"cib_tcp: {item['error']['code']}: {item['error']['message']}")
        elif "verdict" in item:
            self.position, self.wait = {"from": item["from"], "epoch": item["epoch"]}, FIRST_WAIT_S
            self.history = item["last"] if self.history is None else self.history
            self.link.send(*self.pending.values())
        elif item.get("ok"):
            self.pending.pop(item["re"], None)
        elif "gap" in item:
            self.position["from"] = item["gap"][1]
        elif "bye" in item or "detached" in item:
            later = item.get("bye") in ("rekey", "stopping", "too_far_behind")
            raise (ConnectionError if later else SystemExit)(f"the box says {item}")

    def frame(self, kind, seq, ts, session, data):
        """"Nothing lost": the position moves on when a frame is whole, also one of a type that is not known."""
        part, parts = data.pop(30, (0, 1))
        self.parts = self.parts[:part] + [data]
        if part + 1 < parts:
            return
        self.position["from"] = seq + 1
        if kind < len(FRAMES):
            name, fields = FRAMES[kind].split(" ", 1)
            pieces = [named(fields, piece) for piece in self.parts]
            if parts > 1:
                pieces[0]["text"] = "".join(piece["text"] for piece in pieces)
            frame = {"session": str(uuid.UUID(bytes=session)), "seq": seq, "ts": ts, "type": name, **pieces[0]}
            try:
                print(json.dumps(frame), flush=True)
            except BrokenPipeError:  # whoever reads has enough, as `| head`; to the loop below it would look like a cut
                os._exit(1)
            self.react(frame)

    def react(self, frame):
        """--allow and --deny answer one question that is new; --say ends with the turn that it began."""
        if frame["type"] == "ask.question" and frame["seq"] > self.history and self.decision:
            answer, self.decision = self.keep("answer", ask=frame["id"], decision=self.decision), None
            self.link.send(answer)
        elif frame["type"] == "input" and frame.get("id") == self.said:
            self.began = frame["state"] == "delivered"
        if frame["type"] == "stop" and self.began or frame.get("state") == "failed" and frame.get("id") == self.said:
            with contextlib.suppress(OSError):  # all has come: it does not matter if the link has not lived to hear this
                self.link.send({"bye": "done"})
            raise SystemExit(0 if self.began else f"cib_tcp: it was not said: {frame.get('reason')}")


def named(names, data):
    """Names in place of numbers, as in JSON; what has none is of a later version."""
    names = dict(enumerate(names.split())) | {31: "truncated"}
    fields = {names[number]: value for number, value in data.items() if number in names}
    return {name: [named(INNER[name], each) for each in value] if name in INNER else value for name, value in fields.items()}


def run(address, key, boot, follower):
    """"Coming back": one link after the other, with back-off."""
    for connection in range(2**32):
        try:
            follower.follow(Link(address, key, struct.pack(">II", boot, connection)))
        except (OSError, InvalidTag) as cut:
            if follower.link is None:  # once there has been one, the box may only be restarting
                raise SystemExit(f"cib_tcp: no link: {cut} (a wrong CIB_DEVICE_KEY is refused in silence)") from None
            print(f"cib_tcp: {cut!r}; coming back", file=sys.stderr)
            time.sleep(0 if "rekey" in str(cut) else random.uniform(follower.wait / 2, follower.wait))
            follower.wait = min(2 * follower.wait, LONGEST_WAIT_S)


def main():
    known = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    known.add_argument("box", metavar="HOST:PORT")
    known.add_argument("session", type=uuid.UUID)
    known.add_argument("--from", metavar="SEQ", type=int, dest="start", help="also older frames, from this one on")
    known.add_argument("--say", metavar="TEXT", help="says it, and ends when its turn does")
    known.add_argument("--allow", action="store_const", const="allow", dest="decision", help="allows what is asked next")
    known.add_argument("--deny", action="store_const", const="deny", dest="decision", help="declines what is asked next")
    known.add_argument("--state", metavar="FILE", help="the boot counter (~/.cib_tcp-<key id>)")
    options = known.parse_args()
    box = re.fullmatch(r"\[?(.+?)\]?:(\d+)", options.box)
    key = re.fullmatch("([0-9a-f]{16}):([0-9a-f]{64})", os.environ.get("CIB_DEVICE_KEY", ""), re.I)
    if not box or not key:
        known.error("the box is HOST:PORT, and CIB_DEVICE_KEY 16 hex digits, a colon and 64 hex digits")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ctrl-C: just gone, which the protocol allows for
    with open(options.state or os.path.expanduser(f"~/.cib_tcp-{key[1]}"), "ab", buffering=0) as file:
        file.write(b".")  # "Keys": the boot counter is the length of this file, on the disk before the first connection
        os.fsync(file.fileno())
        boot = file.tell()
    run((box[1], int(box[2])), bytes.fromhex(key[1] + key[2]), boot, Follower(options))


if __name__ == "__main__":
    main()
