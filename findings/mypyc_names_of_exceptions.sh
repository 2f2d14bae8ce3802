#!/bin/sh
# What mypyc makes of one name for exceptions of two kinds in one function.
#
# Expected by most: "except A as error" and a later "except B as error" are two variables, as they are in Python, which deletes
# the name at the end of each handler; or else mypy or mypyc says that it minds.
# Seen with mypy 2.4.1 (Python 3.11, gcc 12): both take it without a word. When A is a class that is compiled as well, the
# second handler raises TypeError, "A object expected; got ValueError", in the place of what it was written for. Without a
# compiled class among the two all is well.
#
# Needs python3 with venv and headers, and a C compiler; installs mypy in a temporary directory. Exits with 1 when the
# behaviour has changed.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT INT TERM
python3 -m venv "$directory/venv"
"$directory/venv/bin/python" -m pip install -q --disable-pip-version-check "mypy==2.4.1" \
    "mypy_extensions==1.2.0" "librt==0.17.0" "typing_extensions==4.16.0" "pathspec==1.1.1" "ast_serialize==0.13.1" "setuptools==80.9.0" || exit 77
cat >"$directory/handlers.py" <<'END'
class Own(Exception):
    pass


def first_own(text: str) -> str:
    try:
        if not text:
            raise Own("empty")
    except Own as error:
        return f"own: {error}"
    try:
        return str(int(text))
    except ValueError as error:
        return f"value: {type(error).__name__}"


def two_names(text: str) -> str:
    try:
        if not text:
            raise Own("empty")
    except Own as error:
        return f"own: {error}"
    try:
        return str(int(text))
    except ValueError as other:
        return f"value: {type(other).__name__}"
END
cat >"$directory/look.py" <<'END'
import handlers

print("compiled" if handlers.__file__.endswith(".so") else "interpreted", end=": ")
found = []
for function in (handlers.first_own, handlers.two_names):
    try:
        found.append(function("x"))
    except TypeError as error:
        found.append(f"TypeError: {error}")
print("; ".join(found))
END
cd "$directory"
interpreted=$(venv/bin/python look.py)
venv/bin/mypyc handlers.py >build.log 2>&1 || { cat build.log; exit 1; }
compiled=$(venv/bin/python look.py)
venv/bin/python -m mypy --version
echo "$interpreted"
echo "$compiled"
[ "$interpreted" = "interpreted: value: ValueError; value: ValueError" ]
[ "$compiled" = "compiled: TypeError: handlers.Own object expected; got ValueError; value: ValueError" ]
