# The front door. `make` alone runs everything that must be green before a push.
# CONTRIBUTING.md tells more.

NODE := scripts/node
DESTDIR ?=
PREFIX ?= /usr
libdir := $(DESTDIR)$(PREFIX)/lib/cinder-backup-agent
etcdir := $(DESTDIR)/etc/cinder-backup-agent

test:            ## check, then all tests against the real services; FILES='...': only those
	@scripts/test $(FILES)

soak:            ## the same system tests with large counts, which they print
	@CBA_SOAK=1 scripts/test $(or $(FILES),'test/system/**/*.test.ts')

demo: packages   ## the agent at work on real services; STORE=posix|swift
	@$(NODE) scripts/demo.ts $(or $(STORE),posix)

check: types lint unused

types: packages  ## the compiler
	@$(NODE) node_modules/typescript/bin/tsc

lint: packages   ## style and layout
	@$(NODE) node_modules/@biomejs/biome/bin/biome ci --colors=off

unused: packages ## files, exports and dependencies that nobody needs
	@$(NODE) node_modules/knip/bin/knip.js --no-progress

format: packages ## repair what `lint` complains of
	@$(NODE) node_modules/@biomejs/biome/bin/biome check --write --colors=off

services:        ## start RabbitMQ, Keystone and Swift, and leave them running
	@scripts/services up

services-down:   ## stop them
	@scripts/services down

docs: packages   ## write again what is generated: the sample configuration and its description
	@$(NODE) scripts/docs.ts

# Everything the agent needs to run, its Node included, in one folder; nothing is fetched.
install: packages ## into DESTDIR, for packagers and for a machine without them
	install -d $(libdir) $(etcdir) $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/systemd/system
	rm -rf $(libdir)/src $(libdir)/node_modules
	cp -r bin src node_modules package.json package-lock.json LICENSE $(libdir)
	cd $(libdir) && npm prune --omit=dev --offline --ignore-scripts --no-audit --no-fund </dev/null
	ln -sfr $(libdir)/bin/cinder-backup-agent $(DESTDIR)$(PREFIX)/bin/cinder-backup-agent
	install -m 644 systemd/*.service $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 644 config/agent.conf.sample $(etcdir)

packages:
	@scripts/npm-install

.PHONY: test soak demo check types lint unused format services services-down packages install docs
.DEFAULT_GOAL := test
