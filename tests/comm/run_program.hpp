// Runs a program to its end: what it wrote (standard output and error together) and how it ended.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace viaduct::test {

struct Ended {
  int code = 0;  // exit code; 128 + signal for a killed one, as a shell says
  std::string output;
  int times(const std::string& text) const;  // that it occurs in the output
};

// `environment`: set in addition; an empty value unsets. A program that is not done after two minutes is killed: a
// hang.
Ended run_program(const std::vector<std::string>& command,
                  const std::vector<std::pair<std::string, std::string>>& environment = {});

// A scenario of rank_program.cpp on ranks of their own.
struct Launch {
  std::string launcher = "mpirun";
  std::vector<std::string> options;
  std::string binding_policy = "none";  // as the test runner has it; "": mpirun's default
  std::string omp_threads = "1";
};
Ended run_scenario(const std::string& scenario, int ranks, const Launch& = {});

}  // namespace viaduct::test
