#!/bin/sh
# Installs what tcpcryptd is compared with (Debian and Ubuntu). No service of theirs is started or enabled: the
# benchmark runs them in network namespaces, with keys and configurations of its own.
set -eu

# Denies the start of services while packages are installed (see invoke-rc.d(8)).
policy=/usr/sbin/policy-rc.d

installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Package, and the units that its installation would enable.
install_one() {
    package=$1
    shift
    installed "$package" && return
    if ! apt-get install -y -qq --no-install-recommends "$package"; then
        echo "bench-peers: $package cannot be installed here: it will be left out" >&2
        return
    fi
    command -v systemctl >/dev/null || return 0
    for unit in "$@"; do
        systemctl disable --quiet "$unit" || true
    done
}

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
install_one openssh-client
install_one openssh-server ssh.service ssh.socket
install_one stunnel4 stunnel4.service
install_one nginx-light nginx.service
install_one wrk
install_one redis-server redis-server.service
install_one redis-tools
install_one wireguard-tools
install_one wireguard-go
