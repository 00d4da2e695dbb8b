# SPDX-License-Identifier: MIT
# make test     the project's own tests: no host is needed
# make quick    the quick suite on a real Xen in QEMU, and its table
# make control  the same tests on a Xen that does not scrub: they must fail there
# make compare  the ways of scrubbing side by side
# make exposure  how long a dead guest's bytes stay in RAM: table, and chart docs/exposure.svg
# make large    guests of 4 GiB to all of a host of 64 GiB, whose RAM is sparse: how long each takes to die
# make report   one page of all runs of quick, compare and exposure here: report.html
# make bench    what the measuring itself costs, each figure beside its limit
# make defects  Xens that are broken on purpose, each against the test that must catch it; an hour
# make lab      the project's own tests of whole runs: lab machines, broken Xens; some hours
# make docs     the documentation as a site, in build/site; it is read without a network
# Each alone does all of its set-up.

BASE     := busybox gcc libvirt-dev libxen-dev openssh-client openssh-server pkg-config python3-dev python3-venv
HOST     := e2fsprogs mmdebstrap qemu-system-x86 qemu-utils uidmap util-linux
LAB      := acpica-tools autoconf autotools-dev binutils grub-common grub-pc-bin libncurses-dev libyajl-dev \
            perl uuid-dev zlib1g-dev
BUILD    := bc bison ccache coccinelle dpkg-dev flex git make patch

test:    PACKAGES := $(BASE) $(BUILD)
quick:   PACKAGES := $(BASE) $(HOST)
control: PACKAGES := $(BASE) $(HOST) $(BUILD)
compare: PACKAGES := $(BASE) $(HOST) $(BUILD)
exposure: PACKAGES := $(BASE) $(HOST) $(BUILD)
large:   PACKAGES := $(BASE) $(HOST)
report:  PACKAGES := $(BASE)
bench:   PACKAGES := $(BASE) $(HOST)
defects: PACKAGES := $(BASE) $(HOST) $(BUILD)
docs:    PACKAGES := python3-venv
lab:     PACKAGES := $(BASE) $(HOST) $(BUILD) $(LAB)

.PHONY: test quick control compare exposure large report bench defects docs lab packages
test: packages .venv/bin/tox
	.venv/bin/tox

quick control compare exposure large bench defects docs lab: packages .venv/bin/tox
	.venv/bin/tox -q -e $@

report: packages .venv/bin/tox
	@ls results/*.jsonl > /dev/null 2>&1 \
	|| { echo "there are no results here yet: make quick writes some" >&2; exit 1; }
	.venv/bin/tox -q -e $@

.venv/bin/tox: | packages
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "python3 is older than 3.11: put a newer one first in PATH" >&2; exit 1; }
	python3 -m venv .venv
	.venv/bin/pip install --quiet 'tox>=4'

# Only what is missing is installed; without root or sudo one line says what to do.
# openssh-server is there for the tests, which start an sshd of their own on loopback. Debian's own
# service listens to everybody, so where this is what brings it, it is masked: nothing starts then,
# nor at the next boot (systemctl unmask ssh.service ssh.socket).
packages:
	@missing=$$(for p in $(PACKAGES); do \
		test "$$(dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null)" = installed || echo $$p; \
	done); \
	test -z "$$missing" && exit 0; \
	sudo=; test $$(id -u) -eq 0 || sudo="sudo -n"; \
	{ case " $$missing " in *" openssh-server "*) \
		$$sudo mkdir -p /etc/systemd/system && for unit in ssh.service ssh.socket; do \
			test -e /etc/systemd/system/$$unit || $$sudo ln -s /dev/null /etc/systemd/system/$$unit; \
		done;; \
	esac && \
	$$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq \
		--no-install-recommends $$missing >/dev/null; } \
	|| { echo "Debian packages are missing; install them with: apt-get install" $$missing >&2; exit 1; }
