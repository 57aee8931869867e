# `make` lists the commands.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help demo fleet-demo serve test test-rust test-sdk test-browser test-upgrade test-helm test-image audit sbom lint fmt reference bench bench-path loadtest fuzz

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## A chat through the gateway to a made-up provider; stays up on a terminal
	@scripts/demo

fleet-demo: ## Three gateways behind HAProxy or nginx with a Redis, while one is killed; DURATION=30
	@scripts/fleet-demo

serve: ## The gateway before the real providers whose API keys the environment has
	@scripts/serve

test: ## Install what is missing, lint, and run every test
	@scripts/prepare all
	@$(MAKE) --no-print-directory lint test-rust test-sdk test-browser test-helm test-image

test-rust: ## The Rust tests
	@scripts/prepare build
	cargo test --locked --workspace

test-sdk: ## The vendors' SDKs and Claude Code through the real gateway; ONLY="google stream" narrows it
	@scripts/prepare sdk
	@scripts/build-tested
	.venv/bin/python gateway/tests/sdk/run.py $(ONLY)

test-browser: ## The login in Chromium, with a real identity provider; ONLY="agent" narrows it, SHOTS=folder keeps pictures
	@scripts/prepare browser
	@scripts/build-tested
	SHOTS="$(abspath $(SHOTS))" node gateway/tests/browser/run.mjs $(ONLY)

test-upgrade: ## The release before this one and this one on one Redis, through a rolling upgrade and back
	@scripts/test-upgrade

test-helm: ## The chart by Helm 3 and 4, and what it renders in the real gateway; ONLY="redis" narrows it
	@scripts/test-helm $(ONLY)

test-image: ## The image's content, without a container engine
	@scripts/test-image

audit: ## Known vulnerabilities of what the gateway is made of, by cargo-audit and a copy of the RustSec database
	@scripts/audit

sbom: ## What the gateway is made of, as CycloneDX: target/turnpike.cdx.json; needs cargo-cyclonedx
	@scripts/sbom

lint: ## Format, clippy, dependency directions, the documents; cargo-deny and cargo-audit where installed
	@scripts/prepare build
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	python3 scripts/directions.py
	python3 docs/configuration.py --check
	python3 docs/links.py
	@if cargo deny --version >/dev/null 2>&1; then \
	  echo cargo deny check bans licenses sources; \
	  cargo deny --locked check bans licenses sources; \
	else \
	  echo 'cargo-deny is not installed: licenses are not checked (cargo install --locked cargo-deny)'; \
	fi
	@scripts/audit

fmt: ## Format the Rust code
	cargo fmt --all

reference: ## Renew config/schema.json, docs/configuration.md and docs/reference/
	RENEW=1 cargo test --locked --workspace the_committed_copy_is_up_to_date
	python3 docs/configuration.py

bench: ## The cost of each stage (criterion)
	@scripts/prepare build
	cargo bench --locked -p turnpike-benches

bench-path: ## The cost of a whole request beside a bare Pingora proxy; ARGS=--quick for a look
	@scripts/prepare build
	benches/bench-path $(ARGS)

loadtest: ## Every load scenario, floods of made-up credentials, timing of refusals, limits of a fleet, kills; DURATION=5s PROFILE=release SCENARIOS=…
	@scripts/loadtest

fuzz: ## Fuzz the body scan, the event-stream splitter and refusals; needs a nightly compiler and cargo-fuzz
	@cargo fuzz --version >/dev/null 2>&1 || { \
	  echo 'fuzz: cargo-fuzz is missing: cargo install --locked cargo-fuzz; it needs a nightly compiler'; exit 1; }
	cd plugins/providers && cargo +nightly fuzz run scan -- -max_total_time=$${SECONDS_EACH:-60}
	cd plugins/providers && cargo +nightly fuzz run event_stream -- -max_total_time=$${SECONDS_EACH:-60}
	cd plugins/providers && cargo +nightly fuzz run refusal -- -max_total_time=$${SECONDS_EACH:-60}
