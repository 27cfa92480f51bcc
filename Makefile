# One word for each common job. Needs uv (pip install uv); ARGS adds arguments, as in
# make test ARGS="tests/scoring -k holm".

.PHONY: check test demo docs board bench gpu fuzz

check:
	uv run ruff check .
	uv run ruff format --check .
	uv run pyright

test:
	uv run pytest $(ARGS)

demo:
	uv run ddranking demo $(ARGS)

docs:
	uv run pytest tests/docs $(ARGS)

board:
	uv run ddranking board check records
	uv run ddranking board build records --out site

bench:
	uv run python -m benchmarks $(or $(ARGS),start page)

gpu:
	uv run pytest -m gpu $(ARGS)
	uv run python -m benchmarks group training score --device cuda --json gpu.json

fuzz:
	uv run --group fuzz python -m tests.fuzz 600 --json tests/fuzz/results.json $(ARGS)
	uv run python -m tests.fuzz.results
	uv run python -m tests.fuzz.results --check
