# SPDX-License-Identifier: MIT
# `make test`: the project's own tests; no host is needed.

PACKAGES := gcc libxen-dev openssh-client python3-venv

.PHONY: test
test: .venv/bin/tox packages
	.venv/bin/tox

.venv/bin/tox:
	python3 -m venv .venv
	.venv/bin/pip install --quiet 'tox>=4'

# Only what is missing is installed; without root or sudo one line says what to do.
.PHONY: packages
packages:
	@missing=$$(for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	test -z "$$missing" && exit 0; \
	sudo=; test $$(id -u) -eq 0 || sudo="sudo -n"; \
	$$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends $$missing \
	|| { echo "missing Debian packages: install with: apt-get install" $$missing >&2; exit 1; }
