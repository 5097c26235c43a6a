# Every verb of the project. `make` lists them.

# The README and the server's own hints name target/release, so that is where everything is built.
export CARGO_TARGET_DIR := target
MILLPOND := target/release/millpond

# Tests can have processes die between any two steps; what is released cannot.
TEST := cargo test --locked --features fault-injection
CLIPPY := cargo clippy --locked --all-targets --features fault-injection -- -D warnings
HERE = command -v $(1) >/dev/null 2>&1
SKIPPED = echo "lint: $(1) is not installed: $(2)" >&2
TO_COME = @echo "make $@: to come; $(1)" >&2; exit 1

.DEFAULT_GOAL := help
.PHONY: help run build test test-chaos fuzz lint lint-rust lint-deps lint-shell lint-prometheus lint-k8s fmt doc seed token hooks no-user clean \
	bench bench-quick bench-instructions flamegraph up down run-fleet

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Build and serve on port 8080; data in ./data, settings from the environment and .env
	@$(MILLPOND)

build: ## Build both binaries, in release mode, into target/release
	@cargo build --locked --release --bins

# Documentation tests first: what counts, and the lines that sum it up, come last. The services stay
# up for the next run; in CI they are stopped and their data is removed.
test: up ## Run every test, on real services (needs what `make up` needs, and bash and curl)
	@docker/stack.sh tools
	@status=0; set -x; \
	{ $(TEST) --doc && $(TEST) --no-fail-fast --tests; } || status=$$?; \
	{ set +x; } 2>/dev/null; \
	if [ "$$CI" = true ]; then CLEAN=1 docker/stack.sh down >/dev/null 2>&1 || status=1; fi; \
	exit $$status

test-chaos: up ## Kill and stop everything under load for a while: make test-chaos SECONDS=600
	MILLPOND_CHAOS_SECONDS=$(or $(SECONDS),300) $(TEST) --test integration fleet::chaos -- --nocapture

# A workspace of its own, as the bench is. `make test` sends the streams that it begins with.
fuzz: ## Search for streams that the hot loop gets wrong: make fuzz SECONDS=60 TARGET=streams|limited (needs c++)
	@fuzz/run.sh $(or $(SECONDS),60) $(or $(TARGET),streams)

lint: lint-rust lint-deps lint-shell lint-prometheus lint-k8s ## Check formatting, clippy, dependencies, shell scripts, alerts and manifests

lint-rust:
	@if cargo fmt --version >/dev/null 2>&1; then set -x; cargo fmt --check; \
	else $(call SKIPPED,rustfmt,formatting is not checked (rustup component add rustfmt)); fi
	@if cargo clippy --version >/dev/null 2>&1; then set -x; $(CLIPPY); \
	else $(call SKIPPED,clippy,the code is not linted (rustup component add clippy)); fi
	@if $(call HERE,c++); then set -x; cargo check --locked --manifest-path fuzz/Cargo.toml; \
	else $(call SKIPPED,c++,the fuzz targets are not checked); fi

# The advisories are fetched from the network, and only they: where that cannot be had, the rest
# is checked all the same.
lint-deps:
	@if ! $(call HERE,cargo-deny); then \
		$(call SKIPPED,cargo-deny,licences and advisories are not checked); \
	else \
		(set -x; cargo deny --locked check --hide-inclusion-graph bans licenses sources) || exit 1; \
		if cargo deny --locked fetch db >/dev/null 2>&1; then \
			set -x; cargo deny --locked check --disable-fetch advisories; \
		else echo 'lint: the advisory database cannot be fetched: advisories are not checked' >&2; fi; \
	fi

lint-shell:
	@if $(call HERE,shellcheck); then set -x; shellcheck -x .ci/run .githooks/* docker/*.sh docker/stack/*.sh bench/*.sh fuzz/*.sh; \
	else $(call SKIPPED,shellcheck,shell scripts are not checked); fi

# With the configuration go the alerts that it names.
lint-prometheus:
	@if $(call HERE,promtool); then set -x; promtool check config docker/prometheus/prometheus.yml && \
		promtool test rules docker/prometheus/alerts.test.yml; \
	else $(call SKIPPED,promtool,alerts are not checked (it comes with prometheus)); fi

# The oldest and the newest Kubernetes that the manifests are for. A kind that the validator has no
# schema of it only warns of: here any word of it is an error.
lint-k8s:
	@if ! { $(call HERE,kubectl) && $(call HERE,kubernetes-validate); }; then \
		$(call SKIPPED,kubectl or kubernetes-validate,manifests are not held against the schema of Kubernetes); \
	else for overlay in k8s/overlays/*; do for version in 1.30 1.37; do \
		echo "kubectl kustomize $$overlay | kubernetes-validate --strict --kubernetes-version $$version" >&2; \
		built=$$(kubectl kustomize "$$overlay") || exit 1; \
		said=$$(echo "$$built" | kubernetes-validate --strict --quiet --kubernetes-version "$$version" - 2>&1) && \
			[ -z "$$said" ] || { echo "$$said" >&2; exit 1; }; \
	done; done; fi

fmt: ## Format the code
	cargo fmt

doc: ## Build the code's documentation; a broken link is an error
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items

seed: build ## Create todos to try things with: make seed TODOS=10000
	@$(MILLPOND) seed --todos "$${TODOS:-10000}"

token: $(if $(SUB),build,no-user) ## Print a bearer token: make token SUB=alice
	@$(MILLPOND) token --sub "$$SUB"

no-user:
	@echo 'make token: name a user, as in make token SUB=alice' >&2; exit 1

hooks: ## Have git check format and lints before a commit, and tests before a push
	git config core.hooksPath .githooks

clean: ## Remove what was built; data stays
	cargo clean

# The bench is a workspace of its own: what it measures against never enters the product's build.
bench: build ## Measure beside a floor and peers, in 30 minutes: make bench ARGS='--list' (needs wrk)
	@bench/setup.sh
	@bench/target/release/millpond-bench $(ARGS)

bench-quick: ## The same in three minutes
	@$(MAKE) --no-print-directory bench ARGS='--quick $(ARGS)'

bench-instructions: ## Count instructions of inner parts, and compare with the kept table (needs valgrind)
	@bench/instructions.sh

flamegraph: build ## Draw where the time goes: make flamegraph SCENARIO=read|limited|limited-redis|write|sqlite (needs perf)
	@bench/setup.sh
	@bench/flamegraph.sh $(or $(SCENARIO),read)

up: ## Start PostgreSQL, Redis and Kafka on ports of their own; where they are stands in .stack/env
	@docker/stack.sh up

down: ## Stop what `make up` started; make down CLEAN=1 removes the data as well
	@docker/stack.sh down

run-fleet: build up ## Two servers and two workers on this machine, on what `make up` started
	@docker/run-fleet.sh
