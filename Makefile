# The whole vocabulary. Meson and ninja do the work; build/compile_commands.json is for editors.
#
#   make          build build/postern, hardened and optimised
#   make run      a mail server to try out: builds it, sends a message, shows it arriving, serves
#   make check    every test; ends with "N passed, M failed"
#   make tidy     formatting, warnings, layering and the other house rules
#   make san      unit, fuzz and end-to-end tests under AddressSanitizer and UBSan
#   make fuzz     each fuzz target for FUZZ_SECONDS (60), with libFuzzer
#   make sim      the simulated world; SEED=n repeats one
#   make bench    measurements beside Postfix, Exim and OpenSMTPD
#   make install  DESTDIR and PREFIX as usual

PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
SEED ?=

.PHONY: build run check tidy san fuzz sim bench install clean

build: build/build.ninja
	@tools/packages build
	@ninja -C build $(if $(wildcard src/main.c),postern) $(NINJA_FLAGS)

build/build.ninja:
	@tools/packages build
	@said=$$(meson setup build --prefix $(PREFIX)) || { echo "$$said"; exit 1; }

run:
	@tools/packages build run
	@$(MAKE) --no-print-directory build
	@tools/run

check:
	@tools/packages build check
	@tools/check

tidy:
	@tools/packages build tidy
	@tools/tidy

san:
	@tools/packages build check
	@tools/san

fuzz:
	@tools/packages build fuzz
	@tools/fuzz $(FUZZ_SECONDS)

sim: build
	@tools/sim $(SEED)

bench: build
	@tools/packages check
	@bench/run

install: build
	@meson install -C build --no-rebuild --quiet $(if $(DESTDIR),--destdir $(abspath $(DESTDIR)))

clean:
	@rm -rf build build-san build-fuzz
