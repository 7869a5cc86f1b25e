# What people do with this repository. Every target is a line or two; the logic is in cargo, the tests and deploy/.
# Variables: PROFILE=release|dev  PORT=8000  EXAMPLES_PORT=8090  DATA_DIR=./data  MODEL=smollm2|qwen  MODEL_PORT=8080

.DEFAULT_GOAL := help
.PHONY: help run test bench bench-peers proof model fmt lint header openapi docs-check

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

run: ## Build, start the module under host-shim with the examples, and say what to try
	@PROFILE='$(PROFILE)' PORT='$(PORT)' EXAMPLES_PORT='$(EXAMPLES_PORT)' DATA_DIR='$(DATA_DIR)' exec bash deploy/run.sh

test: ## Everything a change must pass: format, lints, header, all tests, `make run`
	@bash deploy/test.sh

bench: ## Measure, against the raw database loop
	cargo build --release -p host-shim -p chainbot-plugin
	cargo build --release -p chainbot-plugin --example overhead
	cargo bench --profile release --bench engine

bench-peers: ## Measure beside duroxide, DBOS, Restate and Node-RED, installed into a cache folder
	@bash deploy/bench-peers.sh

proof: ## The long tests: more kills, more seeds; a night. PART=20 takes a twentieth, ONLY='engine|kills' some stages
	@PART='$(PART)' ONLY='$(ONLY)' PROFILE='$(PROFILE)' exec bash deploy/proof.sh

model: ## Fetch a small real model (98 MB, once), serve it on loopback, and say how to use it
	@MODEL='$(MODEL)' MODEL_PORT='$(MODEL_PORT)' exec bash deploy/model.sh

fmt: ## Format the code
	cargo fmt --all

lint: ## Format check and clippy, warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

header: ## Write include/alex_module.h anew from chainbot-abi
	cargo run --quiet -p chainbot-abi --example header > include/alex_module.h.new
	mv include/alex_module.h.new include/alex_module.h

openapi: ## Write docs/schemas/openapi.json anew from the routes
	UPDATE_GOLDEN=1 cargo test --quiet -p chainbot-core --lib the_committed_document

docs-check: ## Examples, error pages and reference pages match the code
	cargo test -p chainbot --test suite -- docs:: examples:: cli::
	cargo test --workspace --doc
