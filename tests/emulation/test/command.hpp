// Runs a shell command to its end.
#pragma once
#include <sys/wait.h>

#include <cstdio>
#include <string>

namespace viaduct::test {

struct Ended {
  int code;  // as a shell says it
  std::string output;
};
inline Ended run(const std::string& command) {
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  Ended ended{127, ""};
  char piece[4096];
  while (size_t n = pipe ? fread(piece, 1, sizeof piece, pipe) : 0) ended.output.append(piece, n);
  int status = pipe ? pclose(pipe) : -1;
  if (WIFEXITED(status)) ended.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) ended.code = 128 + WTERMSIG(status);
  return ended;
}

}  // namespace viaduct::test
