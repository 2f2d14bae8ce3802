#!/bin/sh
# Builds dist/tcpcryptd_VERSION_ARCHITECTURE.deb from this tree and the wheel of scripts/compile.sh (`make deb`). Needs no
# root; pip fetches or builds the Python modules.
#
# They are put into the package, in a directory of its own: Debian has no NetfilterQueue, and older versions than we need
# of cryptography and scapy. They are built for the system's Python and depend on exactly its version.
set -eu
cd "$(dirname "$0")/../.."

python=/usr/bin/python3
work=build/deb
root=$work/root
library=/usr/lib/tcpcryptd
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' tcpcryptd/__init__.py)
architecture=$(dpkg --print-architecture)
this_python=$($python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
next_python=$($python -c 'import sys; print("%d.%d" % (sys.version_info[0], sys.version_info[1] + 1))')

rm -rf "$work"
mkdir -p "$root/DEBIAN" "$root$library" dist
$python -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile --target "$root$library" \
    build/wheel/tcpcryptd-*.whl
rm -rf "$root$library/bin"
# The generator runs with what has just been installed; pip's --target has no commands that could be used.
PYTHONPATH="$root$library" "$work/venv/bin/python" -m scripts.manual "$work/manual"
find "$root$library" -name __pycache__ -prune -exec rm -rf {} +
# The sandbox keeps the daemon from writing them; the paths are those after the installation.
$python -m compileall -q -s "$root" -p / --invalidation-mode unchecked-hash "$root$library"

put() { # MODE SOURCE TARGET
    install -D -m "$1" "$2" "$root$3"
}

for command in tcpcryptd tcnetstat tcpcrypt-pcap; do
    module=$(echo "$command" | tr - _)
    [ -f "tcpcryptd/cli/$module.py" ] || continue
    sed "s/@MODULE@/$module/" packaging/debian/command.py.in >"$work/$command"
    [ "$command" = tcpcryptd ] && directory=/usr/sbin || directory=/usr/bin
    put 755 "$work/$command" "$directory/$command"
done
sed 's,/usr/bin/tcpcryptd,/usr/sbin/tcpcryptd,' packaging/systemd/tcpcryptd.service >"$work/tcpcryptd.service"
put 644 "$work/tcpcryptd.service" /usr/lib/systemd/system/tcpcryptd.service
put 644 packaging/systemd/tcpcryptd.sysusers /usr/lib/sysusers.d/tcpcryptd.conf
put 644 packaging/systemd/tcpcryptd.tmpfiles /usr/lib/tmpfiles.d/tcpcryptd.conf
put 644 "$work/manual/tcpcryptd.toml" /etc/tcpcryptd.toml
for page in "$work"/manual/man/*; do
    gzip -9n "$page"
    put 644 "$page.gz" "/usr/share/man/man${page##*.}/${page##*/}.gz"
done
for file in "$work"/manual/bash-completion/*; do
    put 644 "$file" "/usr/share/bash-completion/completions/${file##*/}"
done
for file in "$work"/manual/zsh/*; do
    put 644 "$file" "/usr/share/zsh/vendor-completions/${file##*/}"
done
put 755 scripts/launch_iptables.sh "$library/scripts/launch_iptables.sh"
put 644 LICENSE /usr/share/doc/tcpcryptd/copyright
# The pages of docs/ are beside it there.
sed 's,(docs/,(,g' README.md >"$work/README.md"
put 644 "$work/README.md" /usr/share/doc/tcpcryptd/README.md
for file in docs/*.md docs/*.svg; do
    put 644 "$file" "/usr/share/doc/tcpcryptd/${file#docs/}"
done

for script in postinst prerm postrm; do
    put 755 "packaging/debian/$script" "/DEBIAN/$script"
done
echo /etc/tcpcryptd.toml >"$root/DEBIAN/conffiles"
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@SIZE@/$(du -sk "$root" | cut -f1)/" \
    -e "s/@THIS_PYTHON@/$this_python/" -e "s/@NEXT_PYTHON@/$next_python/" packaging/debian/control.in >"$root/DEBIAN/control"
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) >"$work/md5sums"
put 644 "$work/md5sums" /DEBIAN/md5sums
chmod -R u+rwX,go+rX,go-w "$root"
dpkg-deb --root-owner-group --build "$root" "dist/tcpcryptd_${version}_$architecture.deb"
