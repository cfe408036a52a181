# The front door. `make` alone runs everything that must be green before a push.
# CONTRIBUTING.md tells more.

NODE := scripts/node
DESTDIR ?=
PREFIX ?= /usr

test:            ## check, then all tests against the real services; FILES='...': only those
	@scripts/test $(FILES)

test-cinder:     ## a real Cinder through its API, with whichever backup service; FILES='...': only those
	@scripts/test cinder $(FILES)

soak:            ## the same system tests with large counts, which they print
	@CBA_SOAK=1 scripts/test $(or $(FILES),'test/system/**/*.test.ts')

simulate: packages ## the whole agent in memory under seeded faults; SEED=... one again, COUNT=2000 fresh ones
	@$(NODE) test/simulation/run.ts

demo: packages   ## the agent at work on real services; STORE=posix|swift
	@$(NODE) scripts/demo.ts $(or $(STORE),posix)

bench: packages  ## ours beside the real cinder driver; ROUNDS=5 MIB=1024 ONLY='rows'
	@scripts/services install bench
	@scripts/services up
	@$(NODE) bench/run.ts

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

native: packages ## the accelerator in C, which needs a compiler; the other targets build it where there is one
	@scripts/native

dist: native     ## dist/….tar.gz: what `make install` needs, for a machine without npm and compiler
	@scripts/dist

install: packages ## into DESTDIR and PREFIX, for packagers and for a machine without them
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' scripts/install

packages:
	@scripts/npm-install
	@scripts/native --if-possible

.PHONY: test test-cinder soak simulate demo bench check types lint unused format services services-down packages native dist install docs
.DEFAULT_GOAL := test
