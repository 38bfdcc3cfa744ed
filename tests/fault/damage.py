"""damage.py HOW PLACE FILE...: damages files; PLACE is where, in hundredths of their length."""
import os, pwd, sys

how, place, files = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
for name in files:
    data = bytearray(open(name, "rb").read())
    owner = os.stat(name)
    at = min(len(data) * place // 100, max(len(data) - 1, 0))
    if how == "cut":
        data = data[:at]
    elif how == "flip" and data:
        data[at] ^= 1 << (at % 7)
    elif how == "zeros":
        data[at:] = bytes(len(data) - at)
    elif how == "newer":
        # What a later version may write: a field, or a kind of line, that this one does not know.
        text = bytes(data).replace(b'{"', b'{"from_a_later_version":{"format":99},"', 1)
        data = bytearray(text.replace(b'"ends_at"', b'"ends_when"').replace(b'"format":1', b'"format":99'))
    elif how == "foreign":
        os.chown(name, pwd.getpwnam("bob").pw_uid, -1)
        os.chmod(name, 0o666)
        continue
    elif how == "gone":
        os.remove(name)
        continue
    with open(name, "wb") as file:
        file.write(data)
    os.chown(name, owner.st_uid, owner.st_gid)
print("damaged", len(files))
