"""Speaks to jitsudod as nobody should. peer.py CASE; prints what came back, one JSON message a line."""
import os, socket, sys

OPTIONS = ('{"kind":"command","user":null,"group":null,"role":null,"reason":null,"ticket":null,"window":null,'
           '"break_glass":false,"env_set":[],"preserve":[],"chdir":null,"preserve_groups":false,"timeout":null,'
           '"cwd":"/","umask":18,"non_interactive":false,"remember":"use","terminal":false}')
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
if case == "reused":
    # Another program in the process that asked, on the connection that it left open.
    peer = socket.socket(fileno=int(sys.argv[2]))
    peer.settimeout(20)
    for _ in range(2):
        try:
            peer.send(run(sys.argv[3]))
        except ConnectionError:
            break
    hear(peer)
    sys.exit()
if case == "bare":
    # No word that was offered: what a tricked program may be made to write.
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.connect("/run/jitsudo/socket")
    peer.recv(65536)
    peer.send(b"GET / HTTP/1.1\r\n\r\n")
    hear(peer)
    sys.exit()
if case == "held":
    # argv: uids and connections each; says how many were taken, holds them until they are closed, and when that was.
    import time
    reads = []
    for uid in range(int(sys.argv[2]), int(sys.argv[3])):
        read, write = os.pipe()
        reads.append(read)
        if os.fork() == 0:
            os.setgroups([]); os.setgid(uid); os.setuid(uid)
            held = []
            for _ in range(int(sys.argv[4])):
                one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                one.settimeout(60)
                try:
                    one.connect("/run/jitsudo/socket")
                    if b"hello" in one.recv(65536):
                        held.append(one)
                except OSError:
                    pass
            os.write(write, b"%d\n" % len(held))
            for one in held:
                try:
                    while one.recv(65536):
                        pass
                except OSError:
                    pass
            os._exit(0)
        os.close(write)
    print(sum(int(os.read(read, 64)) for read in reads), flush=True)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    print("all closed")
    sys.exit()
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
elif case == "cycles":
    # The same from many connections, one after the other.
    peer.close()
    for _ in range(200):
        peer, _ = connect()
        try:
            for _ in range(10):
                socket.send_fds(peer, [b"{}"], [peer.fileno()] * 16)
        except OSError:
            pass
        peer.close()
    peer, nonce = connect()
    peer.shutdown(socket.SHUT_WR)
elif case == "reuse":
    peer.send(run(nonce))
    print(peer.recv(65536).decode(), flush=True)
    os.set_inheritable(peer.fileno(), True)
    os.execv("/opt/other", ["other", sys.argv[0], "reused", str(peer.fileno()), nonce])
elif case == "apply":
    peer.send(say(nonce, '{"ask":{"policy_apply":{"dry_run":false,"expect":null}}}'))
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
