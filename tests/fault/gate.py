"""Answers on /run/jitsudo/login in the daemon's place, by its first word: yes, no, by-name (yes to alice-adm alone), garbage, version,
kind, huge, empty, shut, hang. Writes what it was asked into /run/asked, a line of hex each."""
import os
import socket
import struct
import sys

PATH = "/run/jitsudo/login"


def field(tag, value):
    return bytes([tag]) + struct.pack(">H", len(value)) + value


def answer(verdict, words):
    return b"jl\x01\x02" + field(1, bytes([verdict])) + field(2, words)


def main():
    mode = sys.argv[1]
    os.makedirs("/run/jitsudo", exist_ok=True)
    if os.path.exists(PATH):
        os.unlink(PATH)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(PATH)
    os.chmod(PATH, 0o600)
    listener.listen(256)
    open("/run/answering", "w").close()
    kept = []
    while True:
        peer, _ = listener.accept()
        if mode == "shut":
            peer.close()
            continue
        question = peer.recv(5000)
        with open("/run/asked", "a") as asked:
            asked.write(question.hex() + "\n")
        yes, no = answer(1, b"welcome"), answer(0, b"no active grant of yours lets you in")
        replies = {
            "yes": yes,
            "no": no,
            "by-name": yes if b"alice-adm" in question else no,
            "garbage": bytes(range(256)),
            "version": yes[:2] + b"\x02" + yes[3:],
            "kind": question,
            "huge": yes + field(200, b"x" * 5000),
            "empty": b"jl\x01\x02",
        }
        if mode in replies:
            try:
                peer.send(replies[mode])
            except OSError:
                pass
            peer.close()
        else:
            kept.append(peer)


main()
