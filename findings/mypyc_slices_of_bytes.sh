#!/bin/sh
# What mypyc makes of bytes that are indexed with a slice object.
#
# Expected by most: data[place] with place = slice(1, 3) is data[1:3], in a compiled module as in Python, since mypy has
# found that `place` is a slice; with str and list it is so.
# Seen with mypy 2.4.1 (Python 3.11, gcc 12): with bytes every key that is not written as a slice is taken for an index, and
# the call raises TypeError, "'slice' object cannot be interpreted as an integer". The compiler says nothing.
#
# Needs python3 with venv and headers, and a C compiler; installs mypy in a temporary directory. Exits with 1 when the
# behaviour has changed, with 77 when mypy cannot be installed.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT INT TERM
python3 -m venv "$directory/venv"
"$directory/venv/bin/python" -m pip install -q --disable-pip-version-check "mypy==2.4.1" "mypy_extensions==1.2.0" \
    "librt==0.17.0" "typing_extensions==4.16.0" "pathspec==1.1.1" "ast_serialize==0.13.1" "setuptools==80.9.0" || exit 77
cat >"$directory/slices.py" <<'END'
PLACE = slice(1, 3)


def of_bytes(data: bytes) -> bytes:
    return data[PLACE]


def written(data: bytes) -> bytes:
    return data[1:3]


def of_str(data: str) -> str:
    return data[PLACE]
END
cat >"$directory/look.py" <<'END'
import slices

print("compiled" if slices.__file__.endswith(".so") else "interpreted", end=": ")
found = []
for function, data in ((slices.of_bytes, b"abcd"), (slices.written, b"abcd"), (slices.of_str, "abcd")):
    try:
        found.append(repr(function(data)))
    except TypeError as error:
        found.append(f"TypeError, {error}")
print("; ".join(found))
END
cd "$directory"
interpreted=$(venv/bin/python look.py)
venv/bin/mypyc slices.py >build.log 2>&1 || { cat build.log; exit 1; }
compiled=$(venv/bin/python look.py)
venv/bin/python -m mypy --version
echo "$interpreted"
echo "$compiled"
[ "$interpreted" = "interpreted: b'bc'; b'bc'; 'bc'" ]
[ "$compiled" = "compiled: TypeError, 'slice' object cannot be interpreted as an integer; b'bc'; 'bc'" ]
