# What an administrator does with the package, on a host of its own (boot.sh). A line "ok" for each step, up to the first
# that is "FAILED".

check() { # NAME COMMAND...: polls for up to 15 seconds
    local name=$1 tries=150
    shift
    until "$@" >/output/last 2>&1; do
        tries=$((tries - 1))
        if [ $tries = 0 ]; then
            echo "FAILED $name: $*"
            cat /output/last
            systemctl status tcpcryptd --no-pager -l
            journalctl -u tcpcryptd --no-pager
            exit 1
        fi
        sleep 0.1
    done
    echo "ok $name"
}
liberal() { [ "$(cat /proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal)" = "$1" ]; }
rules() { { iptables-save; nft list tables 2>/dev/null; } | grep -qi tcpcryptd; }
no_rules() { ! rules; }
logged() { journalctl -u tcpcryptd --no-pager | grep -q "$1"; }
restarts() { [ "$(systemctl show -P NRestarts tcpcryptd)" = "$1" ] && systemctl is-active tcpcryptd; }
main_pid() { systemctl show -P MainPID tcpcryptd; }
clean() { no_rules && liberal 0 && [ -z "$(ls /run/tcpcryptd)" ]; }
converse() {
    /usr/bin/python3 -c '
import socket, subprocess
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
client.sendall(b"hello")
assert server.recv(5) == b"hello"
lines = subprocess.run(["tcnetstat"], capture_output=True, text=True, check=True).stdout.splitlines()
assert len(lines) >= 3, lines
'
}

ip link set lo up
# Images of containers have it, so that packages start nothing.
rm -f /usr/sbin/policy-rc.d
systemctl start systemd-journald.socket systemd-journald.service dbus.socket 2>/dev/null
# The first use of the table loads connection tracking.
iptables -t mangle -A OUTPUT -m conntrack --ctstate INVALID
check "settings before" liberal 0

dpkg -i /tcpcryptd.deb >/output/dpkg 2>&1 && echo "ok installation" || { echo "FAILED installation"; cat /output/dpkg; }
check "the user is there" id tcpcryptd
check "started by the installation" systemctl is-active tcpcryptd
check "enabled" systemctl is-enabled tcpcryptd
check "rules" rules
check "settings of a running daemon" liberal 1
check "leaves its own host's connections alone" eval "! converse"
echo 'loopback = true' >>/etc/tcpcryptd.toml
check "restart with loopback" systemctl restart tcpcryptd
check "an encrypted connection" converse
check "runs as its user" test "$(ps -o user= -p "$(main_pid)")" = tcpcryptd
check "metrics" eval "tcnetstat --metrics | grep -q 'handshakes_total{outcome=\"encrypted\"} 2'"
check "manual pages" eval "man -w 8 tcpcryptd && man -w 8 tcnetstat && man -w 1 tcpcrypt-pcap && man -w 5 tcpcryptd.toml && man -w 7 tcpcrypt"
check "completion" bash -c '. /usr/share/bash-completion/completions/tcpcrypt-pcap && complete -p tcpcrypt-pcap'
script=$(man 8 tcpcryptd | grep -o '/usr/lib/.*/launch_iptables.sh')
check "the script for rules, where the manual says" eval "$script --print | grep -q TCPCRYPTD"
check "the doctor has no problem with it" eval "tcpcryptd doctor --no-self-test; [ \$? -lt 2 ]"
check "no module is compiled at run time" test -z "$(find /usr/lib/tcpcryptd -newer /output/dpkg -name '*.pyc')"

echo 'verbose = true' >>/etc/tcpcryptd.toml
check "reload" systemctl reload tcpcryptd
check "the file was read again" logged "changed: verbose"

mkdir -p /run/systemd/system/tcpcryptd.service.d
printf '[Service]\nWatchdogSec=2s\n' >/run/systemd/system/tcpcryptd.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart tcpcryptd
check "restart" restarts 0
check "priorities in the journal" eval "journalctl -u tcpcryptd -p debug..debug --no-pager | grep -q 'worker 0 is process'"
kill -STOP "$(main_pid)"
check "a loop that hangs is replaced" restarts 1
kill -KILL "$(main_pid)"
check "a daemon that was killed is replaced" restarts 2
check "encrypts again" converse

check "stop" systemctl stop tcpcryptd
check "nothing is left after the stop" clean
rmdir /run/tcpcryptd
check "starts without its directory" systemctl start tcpcryptd
dpkg --purge tcpcryptd >/output/purge 2>&1 && ! grep -i warning /output/purge && echo "ok removal" ||
    { echo "FAILED removal"; cat /output/purge; }
check "nothing is left after the removal" eval "no_rules && liberal 0 && ! systemctl is-active tcpcryptd"
check "the directory is gone" test ! -e /run/tcpcryptd
