// The only way MPI is called: MPI_ERRORS_RETURN is set, so that every failure speaks through here. Private to the mpi_*
// files.
#pragma once
#define OMPI_SKIP_MPICXX 1  // no C++ bindings: they are obsolete and do not compile without warnings
#include <mpi.h>

#include <source_location>
#include <string>
#include <thread>

#include "core/base/check.hpp"

namespace viaduct {

// `call`: the call and what it was about, "MPI_Bcast of fp32 [768] from rank 0".
inline void mpi_check(int result, std::string_view call, std::source_location where = std::source_location::current()) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(result, text, &length);
  fail(Exit::crash,
       fmt::format(
           "{} failed: {}. Look for the first error of another rank above; if there is none, `viaduct doctor` checks "
           "the launch and the network",
           call, std::string_view(text, size_t(length))),
       where);
}

// Waits for a request and sleeps between tests: MPI's own wait spins, and would take the core from a computing thread.
// Test is also what moves the data on. False: `give_up_seconds` passed (negative: never).
bool mpi_wait(MPI_Request&, std::string_view call, double give_up_seconds = -1);

}  // namespace viaduct
