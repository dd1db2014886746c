# make            build/viaduct           make demo      train on generated scenes, two ranks (DATA=folder: on your photographs)
# make test       the whole suite         make bench     measure this machine
# make test-long  every fault in every phase, minutes
# make test-slurm training under a real Slurm of this host, which it installs, starts and ends: the only test with daemons
# make sanitize   the suite under ASan + UBSan, the loader and kernels under ThreadSanitizer
# DEVICE=cuda     test and sanitize run on the GPU of this machine
# make format     clang-format            make deps      look for packages again     make clean
# make bundle     build/bundle: the program and the tests of a real GPU, for a host with only a driver and CUDA's libraries
# V=1 shows commands, DEBUG=1 builds without optimisation, ARCH=x86-64-v3 for older hosts, CI=true turns warnings into errors
BUILD ?= build
ARCH ?= native
CXX := $(if $(filter default,$(origin CXX)),g++,$(CXX))
PKG_CONFIG ?= pkg-config
Q := $(if $(V),,@)
say = @$(if $(V),,echo "  $(1)")

# All cores, unless the user or a make above this one has decided.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif
.DELETE_ON_ERROR:
.PHONY: all tests test test-long test-slurm demo bench bundle sanitize format deps clean FORCE
all: $(BUILD)/viaduct

# Packages: found (and installed) once, before anything is compiled, and again when the environment changes. make reads
# the answer as a makefile of its own and starts over when it has been renewed.
environment := $(CXX) $(PKG_CONFIG) $(CONDA_PREFIX) $(PKG_CONFIG_PATH) $(CPATH) $(LIBRARY_PATH)
ifneq ($(filter-out clean format deps,$(or $(MAKECMDGOALS),all)),)
include $(BUILD)/config.mk
endif
same_environment = $(and $(findstring |$(configured_for)|,|$(environment)|),$(findstring |$(environment)|,|$(configured_for)|))
$(BUILD)/config.mk: launch/install-deps launch/configure $(if $(same_environment),,FORCE)
	@mkdir -p $(@D)
	@CXX="$(CXX)" launch/install-deps
	@{ CXX="$(CXX)" PKG_CONFIG="$(PKG_CONFIG)" launch/configure && echo 'configured_for := $(environment)'; } > $@

CXXFLAGS ?= $(if $(DEBUG),-O0,-O3) -g1
# Loops over exp, sqrt and the like become full-width vector code if nobody traps or reads errno; values do not change.
# Multiply-adds are fused everywhere: tuned for Zen, g++ leaves some apart in short loops, and a last row would be
# rounded otherwise than the same row among others.
vectorise := -fno-trapping-math -fno-math-errno -mprefer-vector-width=512 --param avoid-fma-max-bits=0
# Vectors never leave a file, so how they would be passed does not matter (psabi);
# g++ 12 and 13 see overflows inside std::string and fmt that are not there (GCC bugs 105651, 105329).
quiet := -Wno-psabi -Wno-missing-field-initializers -Wno-restrict -Wno-stringop-overflow
compile := $(CXX) -std=c++20 -march=$(ARCH) $(vectorise) -fopenmp -Wall -Wextra $(quiet) $(if $(CI),-Werror) \
           -Isrc -I. $(library_cflags) $(SANITIZE) $(CXXFLAGS)
link = $(compile) $(1) -o $@ $(libraries)
# With a CUDA toolkit: Ampere and Hopper, and PTX for what comes later. nvcc hides from fmt that it can evaluate constants.
nvcc_compile := $(nvcc) -ccbin $(lastword $(CXX)) -std=c++20 -O3 -lineinfo -Isrc -I. $(library_cflags) -DFMT_USE_CONSTEXPR=1 \
           -DVIADUCT_CUDA=1 -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=[sm_90,compute_90] \
           -Xptxas -warn-spills -Xptxas -warn-lmem-usage
with_cuda := -DVIADUCT_CUDA=$(if $(nvcc),1,0) $(cuda_cflags)

# Objects of different flags never meet: all depend on this file, which changes only with the flags.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D); echo '$(compile) $(libraries)' | cmp -s - $@ || echo '$(compile) $(libraries)' > $@

$(BUILD)/obj/%.o: %.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,C++  $<)
	$(Q)$(compile) $(if $(filter $(device_dirs:%=%/%),$<),$(with_cuda)) $(if $(filter src/data/hdf5%,$<),$(hdf5_cflags)) -MMD -MP -c $< -o $@

# The parts of core that know a device are compiled for this program's, and again for the emulated one of the tests, whose
# headers stand in for CUDA's (tests/emulation).
device_dirs := src/core/device src/core/ops
# Loads of a pack that only a later, equal condition reads are beyond what g++ follows in kernels; kernels look at values as
# other types, as nvcc lets them. The emulation itself is never instrumented: tests/emulation/fibers.hpp says why.
unsanitized = $(filter-out -fsanitize% -fno-sanitize%,$(1))
emulated_compile = $(compile) $(if $(CI),-Wno-error) -fno-strict-aliasing -Wno-maybe-uninitialized -Wno-uninitialized -Wno-unknown-pragmas -Itests/emulation/include -DVIADUCT_CUDA=1
$(BUILD)/emulated/%.o: %.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,C++  $< (emulated))
	$(Q)$(if $(filter $@,$(emulation)),$(call unsanitized,$(emulated_compile)),$(emulated_compile)) -MMD -MP -c $< -o $@
$(BUILD)/emulated/%.cu.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,C++  $< (emulated))
	$(Q)$(emulated_compile) -MMD -MP -x c++ -c $< -o $@
$(BUILD)/obj/%.cu.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,NVCC $<)
	$(Q)$(nvcc_compile) -MMD -MP -c $< -o $@

# Layers, lowest first. A program links the archives from the highest to the lowest.
layers := core comm data models train app
from_the_top = $(foreach l,app train models data comm core,$(if $(filter $(l),$(1)),$(BUILD)/lib$(l).a))
objects = $(patsubst %.cpp,$(BUILD)/obj/%.o,$(1))
sources = $(filter-out src/app/main.cpp,$(shell find $(1) -name '*.cpp' $(if $(nvcc),,-not -path '*/cuda/*')))
kernels := $(shell find src/core -name '*.cu')
define archive_rule
$(BUILD)/lib$(1).a: $(call objects,$(call sources,src/$(1))) $(if $(nvcc),$(if $(filter core,$(1)),$(kernels:%=$(BUILD)/obj/%.o)))
	@rm -f $$@; ar rcs $$@ $$^
endef
$(foreach l,$(layers),$(eval $(call archive_rule,$(l))))

$(BUILD)/viaduct: $(call objects,src/app/main.cpp) $(call from_the_top,$(layers))
	$(call say,LINK $@)
	$(Q)$(call link,$^)

# Core with the emulated device in place of CUDA's.
emulated = $(patsubst %.cpp,$(BUILD)/emulated/%.o,$(patsubst %.cu,$(BUILD)/emulated/%.cu.o,$(1)))
on_device := $(shell find $(device_dirs) -name '*.cpp' -or -name '*.cu')
emulation := $(call emulated,$(wildcard tests/emulation/*.cpp))
$(BUILD)/emulated/libcore.a: $(call objects,$(filter-out $(on_device),$(call sources,src/core))) $(call emulated,$(on_device))
	@rm -f $@; ar rcs $@ $^

# One test program per folder of tests/, linked with the layers that it may see: its own and those below.
suites := $(filter-out support golden bench emulation cuda,$(sort $(foreach f,$(wildcard tests/*/*.cpp),$(word 2,$(subst /, ,$f)))))
support := $(call objects,$(wildcard tests/support/*.cpp))
layers_core := core
layers_comm := comm core
layers_data := data core
layers_models := models data core
define suite_rule
$(BUILD)/tests/$(1): $(call objects,$(shell find tests/$(1) -name '*.cpp')) $(support) $(call from_the_top,$(or $(layers_$(1)),$(layers)))
	@mkdir -p $$(@D)
	$$(call say,LINK $$@)
	$$(Q)$$(call link,$$^) -lgtest -lgmock
endef
$(foreach s,$(suites),$(eval $(call suite_rule,$(s))))

# What is specific to CUDA runs on the emulated device, and with DEVICE=cuda on a real one.
cuda_tests := $(call objects,$(wildcard tests/cuda/*.cpp)) $(support)
$(BUILD)/tests/cuda: $(cuda_tests) $(call from_the_top,app train models data comm) $(BUILD)/emulated/libcore.a $(emulation)
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)$(call link,$^) -rdynamic -lgtest -lgmock
$(BUILD)/emulated/viaduct: $(call objects,src/app/main.cpp) $(call from_the_top,app train models data comm) $(BUILD)/emulated/libcore.a $(emulation)
	$(call say,LINK $@)
	$(Q)$(call link,$^) -rdynamic
$(BUILD)/device-tests/cuda: $(cuda_tests) $(call from_the_top,$(layers))
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)$(call link,$^) -lgtest -lgmock
$(BUILD)/tests/emulation: $(call emulated,$(wildcard tests/emulation/test/*.cpp)) $(emulation) $(support) $(BUILD)/emulated/libcore.a
	@mkdir -p $(@D)
	$(call say,LINK $@)
	$(Q)$(call link,$^) -lgtest -lgmock
suites += cuda emulation

tests: $(suites:%=$(BUILD)/tests/%) $(BUILD)/viaduct $(BUILD)/emulated/viaduct

# DEVICE=cuda: on the GPU of this machine, what the emulated device runs otherwise.
device_tests = $(or $(if $(nvcc),$(BUILD)/device-tests/cuda),$(error DEVICE=cuda needs a build with CUDA: put nvcc on PATH or set CUDA_HOME))
ifeq ($(DEVICE),cuda)
test: $(device_tests)
	$(Q)BUILD=$(BUILD) TESTS=device-tests launch/run-tests cuda
else
test: tests
	$(Q)BUILD=$(BUILD) launch/run-tests $(suites)
endif

# What takes minutes: every fault in every phase.
test-long: tests
	$(Q)BUILD=$(BUILD) FILTER='*Long.*' launch/run-tests app

test-slurm: $(BUILD)/viaduct
	$(Q)CXX="$(CXX)" PROGRAM=$(BUILD)/viaduct tests/slurm/run.sh

demo: $(BUILD)/viaduct
	$(Q)BUILD=$(BUILD) DATA="$(DATA)" launch/demo

# The measured rows of the case table that also drives the tests.
$(BUILD)/bench-ops: $(call objects,$(wildcard tests/bench/*.cpp)) $(filter-out %/main.o,$(support)) $(BUILD)/libcore.a
	$(call say,LINK $@)
	$(Q)$(call link,$^) -lbenchmark

bench: $(BUILD)/viaduct $(BUILD)/bench-ops
	$(Q)$(BUILD)/bench-ops
	$(Q)$(BUILD)/viaduct bench infer
	$(Q)$(BUILD)/viaduct bench train
	$(Q)$(BUILD)/viaduct bench loader

bundle: $(BUILD)/viaduct $(BUILD)/device-tests/cuda
	$(Q)launch/bundle $(BUILD)/bundle $(BUILD)/viaduct $(BUILD)/device-tests/cuda=cuda-tests

# libgomp is not instrumented for ThreadSanitizer, so only the loader, which has threads of its own, runs under it; and the
# kernels on the emulated device, where it finds races between the threads of a block (tests/emulation/fibers.hpp).
# With DEVICE=cuda compute-sanitizer goes over every kernel on the GPU.
ifeq ($(DEVICE),cuda)
sanitize: $(device_tests)
	$(Q)for tool in memcheck racecheck initcheck synccheck; do \
	  compute-sanitizer --tool $$tool --error-exitcode 9 $(device_tests) --gtest_filter='*CudaOpTable.ValuesAreNoWorse*' || exit; done
else
sanitize:
	$(Q)$(MAKE) BUILD=$(BUILD)/asan SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=undefined" CXXFLAGS="-O1 -g1" test
	$(Q)$(MAKE) BUILD=$(BUILD)/tsan SANITIZE="-fsanitize=thread" CXXFLAGS="-O1 -g1" $(addprefix $(BUILD)/tsan/tests/,data emulation cuda)
	$(Q)BUILD=$(BUILD)/tsan FILTER='Loader*' launch/run-tests data
	$(Q)BUILD=$(BUILD)/tsan FILTER='-*CudaVit*:*CudaBridgeTower*:*CudaBench*' launch/run-tests emulation cuda
endif

format:
	$(Q)clang-format -i $$(git ls-files '*.cpp' '*.hpp' '*.cu' '*.cuh')

deps:
	$(Q)CXX="$(CXX)" launch/install-deps

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj $(BUILD)/emulated -name '*.d' 2>/dev/null)
