# The two commands: `make demo` and `make test`. Both install what they need themselves.
.DEFAULT_GOAL := help
.PHONY: help demo down test unit lint e2e bench parity generate images docs

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## local Kubernetes, Easel, one picture in demo/out/ (leaves it running)
	@tools/demo.sh

down: ## stop what `make demo` started
	@tools/down.sh

test: ## every test, those on a real cluster included
	@tools/test.sh

unit: ## formatting, lints and the tests that need no cluster
	@tools/test.sh lint unit

lint: ## formatting and lints only
	@tools/test.sh lint

e2e: ## chart and cluster tests only
	@tools/test.sh chart e2e

bench: ## the figures: job store, POST latency, engine, operator, memory
	@tools/bench.sh

parity: ## docs/parity.md: the engine's differences to the reference, measured
	@tools/parity.sh

generate: ## write the CRDs and their reference page from the Rust types
	@tools/generate.sh

images: ## the three container images as docker archives
	@tools/deps.sh build cluster && tools/images.sh
