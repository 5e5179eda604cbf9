# Straw 1530. `make help` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help demo test check format setup-demo setup-test clean
PY := .venv/bin
PORT ?= 1530

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10
	@echo
	@echo 'make demo VIDEO=rtsp://…|FILE|FOLDER [FPS=1]   your own camera, video or folder of pictures'
	@echo 'make demo ONCE=1 [JSON=FILE]                   one scripted fire, then exit'
	@echo 'make demo PORT=2530                            other ports (five, counted up)'
	@echo 'make test ARGS="tests/server -k clock"         some of the tests'

setup-demo:
	@scripts/setup.sh demo

setup-test:
	@scripts/setup.sh test

demo: setup-demo ## set up, then run the whole loop on this machine
	@$(PY)/straw1530 demo --port $(PORT) $(if $(VIDEO),--video '$(VIDEO)') $(if $(FPS),--fps $(FPS)) \
		$(if $(ONCE),--once) $(if $(JSON),--json '$(JSON)') $(if $(DATA),--data '$(DATA)')

test: setup-test ## set up, then run all tests
	@$(PY)/pytest $(ARGS)

check: setup-test ## format, lint, types and import directions
	@$(PY)/ruff format --check .
	@$(PY)/ruff check .
	@$(PY)/mypy
	@$(PY)/lint-imports --no-logo

format: setup-test ## format and mend what the linter can
	@$(PY)/ruff format .
	@$(PY)/ruff check --fix .

clean: ## remove what set-up and the demo made
	rm -rf .venv node_modules data/demo build server/web/static/vendor
