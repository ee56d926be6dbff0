# SPDX-License-Identifier: MIT OR Apache-2.0
# `make help` lists the targets.
SHELL := /bin/bash
CARGO ?= cargo
export RUST_BACKTRACE ?= 0
# Lab machines wait for a third of their time: hwtests take 309 s with 2 threads on 2 cores, and
# 245 s with 3.
export RUST_TEST_THREADS ?= $(shell echo $$(($$(nproc) * 3 / 2)))
export DESTDIR PREFIX
# Crates whose public items all have documentation.
LIBRARIES := geom-client geom-color geom-display geom-edid geom-ipc geom-kms geom-lab geom-test-client

# Tests of each GPU that QEMU emulates: 30 boots of 10 to 20 s, so `make test` has only gpus::quick.
THOROUGH := gpus::thorough::

.PHONY: help run test test-gpus check hwtests lint bench fuzz sanitize soak build install uninstall deb clean

help:
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/'

build: ## build the compositor and its libraries with optimization, and the third-party notices
	@tools/packages.sh build
	$(CARGO) build --release --package geom_compositor
	$(CARGO) build --profile library --package geom-client
	@tools/notices.py

install: ## install what `make build` built: DESTDIR= PREFIX=/usr/local
	@tools/install.sh install

deb: build ## build the Debian packages geom-compositor, geom-compositor-dev, python3-geom-compositor in target/deb
	@tools/packages.sh deb
	$(CARGO) build --profile library --package geom-python
	@tools/deb.sh

uninstall: ## remove what `make install` installed; files that users have written stay
	@tools/install.sh uninstall

run: ## run on this machine's monitors; without any, in the lab, with a report in target/run/index.html
	@tools/run.sh

test: ## lint, and all tests, those in the lab included; of the GPUs in QEMU, a few
	@tools/packages.sh qemu
	@lab/kernel/build.sh >/dev/null
	@lab/qemu/prepare.sh
	@$(MAKE) --no-print-directory lint
	$(CARGO) build --workspace
	$(CARGO) test --workspace -- --skip $(THOROUGH)

# An emulated processor has two threads.
test-gpus: ## all tests of GPUs in QEMU; FINDINGS=1 runs the ignored tests of known faults instead
	@tools/packages.sh qemu
	@lab/qemu/prepare.sh
	@lab/qemu/simpledrm/build.sh >/dev/null
	$(CARGO) build --package geom_compositor --package geom-lab
	RUST_TEST_THREADS=$$(( ($$(nproc) + 1) / 2 )) $(CARGO) test --test hwtests gpus:: -- $(if $(FINDINGS),--ignored)

check: ## formatting, clippy, unit tests and in-process tests: what to run before each commit
	@tools/packages.sh build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- --deny warnings
	$(CARGO) test --workspace --lib --quiet

hwtests: ## tests of the whole service in the lab; HWTESTS=real runs the safe ones on this machine's monitors
ifeq ($(HWTESTS),real)
	@tools/packages.sh build
	$(CARGO) build --package geom_compositor --package geom-lab
	HWTESTS=real $(CARGO) test --test hwtests real_monitors:: -- --test-threads=1 --skip real_mode_
else ifeq ($(HWTESTS),)
	@tools/packages.sh qemu
	@lab/kernel/build.sh >/dev/null
	@lab/qemu/prepare.sh
	$(CARGO) build --workspace
	$(CARGO) build --package geom-client --examples
	$(CARGO) test --test hwtests -- --skip $(THOROUGH)
else
	$(error HWTESTS=$(HWTESTS) is unknown; it may be real, or not set)
endif

lint: ## rustfmt, clippy without warnings, documentation of the libraries, file lengths, terms and columns, import graph, licenses, advisories
	@tools/packages.sh build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- --deny warnings
	RUSTDOCFLAGS="-D missing_docs -D rustdoc::broken_intra_doc_links" $(CARGO) doc --lib --no-deps --quiet $(LIBRARIES:%=--package %)
	@tools/lengths.sh
	@tools/terms.sh
	@tools/imports
	@tools/flows
	@tools/notices.py --lint
	@tools/deny.sh

# geom-fuzz has the program built with the fuzz driver in it: not in what is measured.
bench: ## measure, and compare with sway and cage; target/bench/results.json and table.md
	@tools/packages.sh bench
	@lab/kernel/build.sh >/dev/null
	$(CARGO) build --release --workspace --exclude geom-fuzz
	$(CARGO) bench --quiet --bench display_config | tee target/bench-display-config.txt
	$(CARGO) bench --quiet --bench color_shader | tee target/bench-color-shader.txt
	target/release/geom-lab-bench --compositor target/release/geom_compositor --out target/bench

soak: ## MINUTES=60 of connecting and killed clients and monitor hotplug; target/bench/soak.md
	@tools/packages.sh bench
	@lab/kernel/build.sh >/dev/null
	$(CARGO) build --release --workspace --exclude geom-fuzz
	target/release/geom-lab-bench --soak $${MINUTES:-60} --compositor target/release/geom_compositor --out target/bench

fuzz: ## run each fuzz target for SECONDS_EACH=60
	@tools/packages.sh build
	@tools/fuzz.sh

sanitize: ## in-process tests and SECONDS_EACH=60 of fuzzing with AddressSanitizer; not part of `make test`
	@tools/packages.sh build
	@tools/sanitize.sh

clean: ## remove target/; the lab kernel's cache stays
	$(CARGO) clean
