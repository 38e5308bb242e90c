# Everything a person does with this repository. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

DATA ?= data
ARGS ?=
BENCH ?=

.PHONY: help run build test story fuzz-smoke soak bench bench-quick lint fmt clean

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build the release binary and start a sandboxed server (data in ./data; DATA=DIR, ARGS=... to change)
	@scripts/setup-build
	@cargo build --release --locked --package postrider
	@exec target/release/postrider dev --data $(DATA) $(ARGS)

build: ## Build the release binary: target/release/postrider
	@scripts/setup-build
	@cargo build --release --locked --package postrider

test: ## Install what the tests need (where it may), then run every test
	@scripts/setup-build
	@scripts/setup-tests
	@scripts/run-tests

story: ## Run one end-to-end story: make story NAME=crash
	@cargo build --locked --package postrider
	@cargo nextest run --locked --package postrider-e2e --no-capture --test '$(NAME)'

fuzz-smoke: ## Run the fuzz targets for 10 s each on the stable toolchain (FUZZ_SMOKE_SECS=N to change)
	@FUZZ_SMOKE_SECS="$${FUZZ_SMOKE_SECS:-10}" cargo nextest run --locked --package postrider-e2e --no-capture --test fuzz_smoke

soak: ## The crash story for as long as SOAK_MINUTES says (60), on the release binary
	@scripts/setup-tests
	@scripts/soak

bench: ## Measure beside Postfix and a direct run; writes bench/results/latest.json (BENCH="--quick" and more: see --help)
	@scripts/setup-build
	@scripts/setup-tests --bench
	@cargo build --release --locked --package postrider --package postrider-bench
	@target/release/postrider-bench $(BENCH)

bench-quick: ## One round of the benchmark instead of three; writes nothing
	@$(MAKE) --no-print-directory bench BENCH="--quick $(BENCH)"

lint: ## Format, clippy with warnings denied, licences, bans and sources
	@scripts/lint

fmt: ## Format the code
	@cargo fmt --all

clean: ## Remove what was built (not ./data)
	@cargo clean
