# What one can do here: `make help`. Everything is written below target/, except the data folder of
# `make run`. Settings: ARGS for the programs, ROUNDS and SEED for chaos, SECONDS for fuzz.

.DEFAULT_GOAL := help
.PHONY: help run build test lint audit coverage bench chaos fuzz setup clean

ROUNDS ?= 200
# (make takes SECONDS from the shell only when it was exported; a fuzz run has its own default.)
SECONDS ?= 600

export PATH := $(PATH):$(HOME)/.cargo/bin
export CARGO_TARGET_DIR := $(CURDIR)/target
export TMPDIR := $(CURDIR)/target/tmp

# $(call need,COMMAND,WHAT-TO-DO): one line and the end when the command is missing.
need = command -v $(1) >/dev/null || { echo "make: $(1) is missing: $(2)" >&2; exit 1; }
toolchain = $(call need,cargo,install Rust from https://rustup.rs); \
	$(call need,cc,install a C compiler (Debian: apt-get install gcc libc6-dev)); \
	mkdir -p "$(TMPDIR)"

# On a terminal Ctrl-C goes to the program alone, in a foreground group of its own: it drains and exits
# with 0, where make, hit as well, would end with an error. Elsewhere the program takes the shell's
# place, so that a signal to make reaches it.
in_foreground = if [ -t 0 ]; then set -- sh -mc '"$$0" "$$@"'; else set -- exec; fi; "$$@"

help: ## list what can be done (the default)
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) \
		| while IFS='	' read -r name what; do printf '  make %-10s %s\n' "$$name" "$$what"; done

run: ## build, then vote at http://127.0.0.1:8080 (ARGS="--listen …"; Ctrl-C ends it)
	@$(toolchain); cargo build --release -p paredao
	@$(in_foreground) "$(CARGO_TARGET_DIR)/release/paredao" serve --demo $(ARGS)

build: ## build every program, optimised, into target/release
	@$(toolchain); cargo build --release --workspace

test: ## run every suite, with chaos at ten random instants and at every failure point
	@.ci/test.sh

lint: ## format, clippy, documentation, dependencies, scripts, data files, pages
	@.ci/lint.sh

audit: ## licences, banned crates and sources of what is linked in (compiles cargo-deny once)
	@.ci/audit.sh

coverage: ## lines that the tests reach, as a table and as HTML in target/coverage
	@.ci/coverage.sh

bench: ## measure against nginx, a no-op and Redis; prints a table (ARGS for paredao-loadtest bench)
	@$(toolchain); .ci/setup.sh bench
	@cargo build --release --workspace --bins
	@exec "$(CARGO_TARGET_DIR)/release/paredao-loadtest" bench $(ARGS)

chaos: ## kill -9 under load at ROUNDS=200 random instants, and more; SEED=… replays a run (ARGS=--every-point: a look)
	@$(toolchain); cargo build --workspace --bins
	@exec "$(CARGO_TARGET_DIR)/debug/paredao-loadtest" chaos --rounds $(ROUNDS) \
		$(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: ## every fuzz target for SECONDS=600 each, as many at once as there are cores
	@.ci/fuzz.sh $(SECONDS)

setup: ## install the Debian packages that tests, lints and benchmarks need
	@.ci/setup.sh test lint bench

clean: ## remove target/; the data folder stays
	@rm -rf target
