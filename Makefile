# geom_compositor: what there is to do. `make help` lists it.
SHELL := /bin/bash
CARGO ?= cargo
export RUST_BACKTRACE ?= 0
export DESTDIR PREFIX

.PHONY: help run test lint bench fuzz soak build install uninstall deb clean

help:
	@grep -E '^[a-z]+:.*## ' Makefile | sed 's/:.*## /\t/'

build: ## the compositor and its libraries, optimised
	@tools/packages.sh build
	$(CARGO) build --release --package geom_compositor
	$(CARGO) build --profile library --package geom-client

install: ## lay out what `make build` made: DESTDIR= PREFIX=/usr/local
	@tools/install.sh install

deb: build ## Debian packages of it in target/deb: geom-compositor, geom-compositor-dev, python3-geom-compositor
	@tools/packages.sh deb
	$(CARGO) build --profile library --package geom-python
	@tools/deb.sh

uninstall: ## take it away again; what users have written stays
	@tools/install.sh uninstall

run: ## light every monitor there is; with none, boot the lab and show its monitors in target/run/index.html
	@tools/run.sh

test: ## everything that proves it
	@tools/packages.sh lab
	@lab/kernel/build.sh >/dev/null
	@$(MAKE) --no-print-directory lint
	$(CARGO) build --workspace
	$(CARGO) test --workspace

lint: ## rustfmt, clippy with warnings denied, no source file over 600 lines
	@tools/packages.sh build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- --deny warnings
	@tools/lengths.sh

bench: ## measure beside sway and cage; target/bench/results.json and table.md
	@tools/packages.sh bench
	@lab/kernel/build.sh >/dev/null
	$(CARGO) build --release --workspace
	$(CARGO) run --release --quiet --example displays | tee target/bench-displays.txt
	target/release/geom-lab-bench --compositor target/release/geom_compositor --out target/bench

soak: ## an hour (MINUTES=60) of clients that come and go and monitors that are pulled; target/bench/soak.md
	@tools/packages.sh bench
	@lab/kernel/build.sh >/dev/null
	$(CARGO) build --release --workspace
	target/release/geom-lab-bench --soak $${MINUTES:-60} --compositor target/release/geom_compositor --out target/bench

fuzz: ## look for bytes that break what must hold; SECONDS_EACH=60
	@tools/packages.sh build
	@tools/fuzz.sh

clean: ## remove what was built here; the lab kernel's cache stays
	$(CARGO) clean
