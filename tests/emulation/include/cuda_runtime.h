// Stands in for CUDA's <cuda_runtime.h> where kernels are compiled as C++ and run on the CPU (see ../fibers.hpp): the
// names, values and types that the project uses, equal to those of CUDA 13. It comes first in the include path.
#pragma once
#include "emulation/api.h"
#include "emulation/intrinsics.h"
#include "emulation/types.h"
