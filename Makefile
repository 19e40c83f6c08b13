# make test runs everything that .ci/run runs. It needs Go and npm; the race
# detector runs where there is a C compiler.
GO       ?= go
RACE     := $(if $(shell command -v gcc || command -v clang),-race)
PURE     := . ./bandit ./estimators ./experiments ./offline ./offline/classification ./offline/coverage ./internal/rules ./internal/actions
STATEFUL  = $(filter-out $(shell $(GO) list $(PURE)),$(shell $(GO) list ./...))

.PHONY: test lint notebooks fuzz

test:
	$(GO) test -timeout 30m $(PURE)
	$(GO) test -timeout 30m $(RACE) -p 2 $(STATEFUL)
ifneq ($(RACE),)
	$(GO) test -timeout 30m $(RACE) -short ./experiments ./offline
	$(GO) test -run 'TestHillstrom$$' ./cmd/nextbest
	$(GO) test -run 'TestSQLMemory$$' ./logging
endif
	$(MAKE) --no-print-directory notebooks lint

# notebooks executes the notebook in a pinned environment of Python, which it
# keeps in the user's cache; a figure that is not what the notebook asserts fails.
notebooks:
ifneq ($(shell command -v python3),)
	$(GO) build -o bin/nextbest ./cmd/nextbest
	python3 notebooks/run.py
else
	@echo "notebooks: skipped, there is no python3"
endif

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on these files"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

# fuzz runs every fuzz target for a while: make fuzz FUZZTIME=1m
FUZZTIME ?= 10s
fuzz:
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; \
	done
