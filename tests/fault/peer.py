"""Speaks to jitsudod as nobody should. peer.py CASE; prints what came back, one JSON message a line."""
import os, socket, sys

OPTIONS = ('{"kind":"command","user":null,"group":null,"role":null,"reason":null,"ticket":null,"window":null,'
           '"break_glass":false,"env_set":[],"preserve":[],"chdir":null,"cwd":"/","umask":18,"non_interactive":false,'
           '"terminal":false}')
RUN = '{"run":{"options":%s,"argc":1,"envc":0,"strings":["/usr/bin/id"],"open":false}}' % OPTIONS

def connect():
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.settimeout(20)
    peer.connect("/run/jitsudo/socket")
    hello = peer.recv(65536).decode()
    return peer, hello.split('"nonce":"')[1].split('"')[0]

def say(nonce, what, version=1, more=""):
    return ('{"nonce":"%s","version":%d,"say":%s%s}' % (nonce, version, what, more)).encode()

def run(nonce, version=1, more=""):
    return say(nonce, RUN, version, more)

def hear(peer):
    try:
        while True:
            text = peer.recv(65536)
            if not text:
                print("closed")
                return
            print(text.decode())
    except ConnectionError:
        print("closed")
    except TimeoutError:
        print("silence")

case = sys.argv[1]
peer, nonce = connect()
if case == "passed":
    # root connects; an unprivileged child sends on the inherited connection.
    child = os.fork()
    if child == 0:
        os.setgroups([]); os.setgid(1000); os.setuid(1000)
        peer.send(run(nonce))
        os._exit(0)
    os.waitpid(child, 0)
elif case == "forked":
    # The same account, another process.
    child = os.fork()
    if child == 0:
        peer.send(run(nonce))
        os._exit(0)
    os.waitpid(child, 0)
elif case == "nonce":
    peer.send(run("0" * 32))
elif case == "version":
    peer.send(run(nonce, 99))
elif case == "field":
    peer.send(run(nonce, more=',"root":"/tmp"'))
elif case == "uid":
    peer.send(run(nonce, more=',"uid":0'))
elif case == "garbage":
    peer.send(bytes(range(256)))
elif case == "oversized":
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    peer.send(b"x" * 70000)
elif case == "descriptors":
    socket.send_fds(peer, [run(nonce)], [0, 1, 2])
elif case == "cycle":
    # The connection over itself, many times: nothing is kept.
    try:
        for _ in range(50):
            socket.send_fds(peer, [b"{}"], [peer.fileno()] * 4)
    except ConnectionError:
        pass  # closed at the first of them
elif case == "order":
    peer.send(say(nonce, '{"more":{"number":1,"strings":["x"],"open":false}}'))
elif case == "half":
    peer.shutdown(socket.SHUT_WR)
elif case == "handover":
    # A client that asked for nothing: whatever comes, no session is ours.
    peer.send(say(nonce, '{"ask":"standing"}'))
else:
    sys.exit("no such case")
hear(peer)
