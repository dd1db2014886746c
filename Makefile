# make            build/viaduct           make demo      train on generated scenes, two ranks (DATA=folder: on your photographs)
# make test       the whole suite         make bench     measure this machine
# make sanitize   the suite under ASan + UBSan, the loader under ThreadSanitizer
# make format     clang-format            V=1 shows commands, DEBUG=1 builds without optimisation, ARCH=x86-64-v3 for older hosts
BUILD ?= build
ARCH ?= native
CXX := $(if $(filter default,$(origin CXX)),g++,$(CXX))
PKG_CONFIG ?= pkg-config
Q := $(if $(V),,@)

packages := ompi-cxx libjpeg libpng libwebp fmt hwloc libxxhash
CXXFLAGS ?= $(if $(DEBUG),-O0,-O3) -g1
# No trap handlers (values do not change) and full-width vectors: what exp, erf and softmax loops need to vectorise well.
vectorise := -fno-trapping-math -mprefer-vector-width=512
flags := -std=c++20 -march=$(ARCH) $(vectorise) -fopenmp -Wall -Wextra -Wno-missing-field-initializers $(if $(CI),-Werror) -Isrc -I. -MMD -MP \
         $(shell $(PKG_CONFIG) --cflags $(packages) 2>/dev/null) $(SANITIZE)
libraries := $(shell $(PKG_CONFIG) --libs $(packages) 2>/dev/null) -ldnnl -lboost_program_options -lpthread

# Layers, lowest first: an archive links against those before it, and only those.
layers := core comm data models train app
sources = $(filter-out src/app/main.cpp,$(shell find src/$(1) -name '*.cpp'))
objects = $(patsubst %.cpp,$(BUILD)/obj/%.o,$(1))
below = $(foreach l,$(layers),$(if $(filter $(l),$(1)),,$(l)))
archives := $(layers:%=$(BUILD)/lib%.a)
link_order := $(foreach l,app train models data comm core,$(BUILD)/lib$(l).a)

.PHONY: all deps test demo bench sanitize format clean tests
all: deps $(BUILD)/viaduct

deps:
	$(Q)launch/install-deps

$(BUILD)/obj/%.o: %.cpp
	@mkdir -p $(@D)
	@$(if $(V),,echo "  C++  $<")
	$(Q)$(CXX) $(flags) $(CXXFLAGS) -c $< -o $@

define archive_rule
$(BUILD)/lib$(1).a: $(call objects,$(call sources,$(1)))
	@rm -f $$@; ar rcs $$@ $$^
endef
$(foreach l,$(layers),$(eval $(call archive_rule,$(l))))

$(BUILD)/viaduct: $(call objects,src/app/main.cpp) $(archives)
	@$(if $(V),,echo "  LINK $@")
	$(Q)$(CXX) $(flags) $< $(link_order) -o $@ $(libraries)

# One test program per folder of tests/, linked with the layers up to its own.
suites := $(filter-out support golden bench,$(notdir $(patsubst %/,%,$(wildcard tests/*/))))
support := $(call objects,$(wildcard tests/support/*.cpp))
layers_core := core
layers_ops := core
layers_comm := comm core
layers_data := data core
layers_models := models data core
layers_train := train models data comm core
layers_app := app train models data comm core
define suite_rule
$(BUILD)/tests/$(1): $(call objects,$(shell find tests/$(1) -name '*.cpp')) $(support) $(layers_$(1):%=$(BUILD)/lib%.a)
	@mkdir -p $$(@D)
	@$$(if $$(V),,echo "  LINK $$@")
	$$(Q)$$(CXX) $$(flags) $$^ -o $$@ $$(libraries) -lgtest
endef
$(foreach s,$(suites),$(eval $(call suite_rule,$(s))))
tests: $(suites:%=$(BUILD)/tests/%) $(BUILD)/viaduct

test: deps
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) tests
	$(Q)BUILD=$(BUILD) launch/run-tests $(suites)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
