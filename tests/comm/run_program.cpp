#include "tests/comm/run_program.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "core/base/check.hpp"

namespace viaduct::test {

int Ended::times(const std::string& text) const {
  int n = 0;
  for (size_t at = output.find(text); at != std::string::npos; at = output.find(text, at + text.size())) ++n;
  return n;
}

Ended run_program(const std::vector<std::string>& command,
                  const std::vector<std::pair<std::string, std::string>>& environment) {
  int pipe_ends[2];
  expect(::pipe(pipe_ends) == 0, "a pipe");
  const pid_t child = ::fork();
  expect(child >= 0, "a child process");
  if (child == 0) {
    ::setpgid(0, 0);
    ::dup2(pipe_ends[1], 1), ::dup2(pipe_ends[1], 2);
    ::close(pipe_ends[0]), ::close(pipe_ends[1]);
    for (auto& [name, value] : environment)
      value.empty() ? ::unsetenv(name.c_str()) : ::setenv(name.c_str(), value.c_str(), 1);
    std::vector<char*> argv;
    for (auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    ::alarm(120);  // survives exec
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(pipe_ends[1]);
  Ended ended;
  char text[4096];
  for (ssize_t n; (n = ::read(pipe_ends[0], text, sizeof text)) > 0;) ended.output.append(text, size_t(n));
  ::close(pipe_ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  ended.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ended;
}

Ended run_scenario(const std::string& scenario, int ranks, const Launch& launch) {
  std::vector<std::string> command{launch.launcher, "-np", std::to_string(ranks)};
  command.insert(command.end(), launch.options.begin(), launch.options.end());
  char self[4096] = "";
  expect(::readlink("/proc/self/exe", self, sizeof self - 1) > 0, "the path of this program");
  command.push_back(self);
  const std::string root = ::getuid() == 0 ? "1" : "";
  return run_program(command, {{"VIADUCT_SCENARIO", scenario},
                               {"OMPI_ALLOW_RUN_AS_ROOT", root},
                               {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", root},
                               {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
                               {"OMPI_MCA_mpi_yield_when_idle", "1"},
                               {"OMPI_MCA_hwloc_base_binding_policy", launch.binding_policy},
                               {"OMP_NUM_THREADS", launch.omp_threads}});
}

}  // namespace viaduct::test
