#!/bin/sh
# Run by mmdebstrap with the new root's folder as $1, when all packages are in.
set -eu
chroot "$1" sh -eu <<'INSIDE'
group() { groupadd "$1"; }
account() { useradd -m -s /bin/bash -u "$2" "$1"; echo "$1:$1-pw" | chpasswd; }
group oncall
group sre
account admin 1000
account alice 1001
account alice-adm 1002
account bob 1003
account carol 1004
usermod -a -G sudo admin
usermod -a -G oncall alice

# The harness opens its logins with `runuser -l`, which by default leaves the
# audit login id alone; console and ssh logins set it, so must this one.
{ echo 'session required pam_loginuid.so'; cat /etc/pam.d/runuser-l; } > /etc/pam.d/runuser-l.new
mv /etc/pam.d/runuser-l.new /etc/pam.d/runuser-l
grep -q pam_systemd /etc/pam.d/runuser-l || echo '-session optional pam_systemd.so' >> /etc/pam.d/runuser-l

# Packages installed by tests need not survive a power cut of that very second.
echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/unsafe-io
mkdir -p /var/log/journal
: > /etc/machine-id
rm -f /etc/hostname /etc/resolv.conf
# What an idle machine would do at night, and terminals that no container has.
systemctl -q mask console-getty.service getty@tty1.service getty-static.service \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer systemd-timesyncd.service systemd-pcrphase.service
systemctl -q disable nginx.service
INSIDE
