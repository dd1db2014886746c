// The program itself, run as a user runs it.
#pragma once
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/temp_folder.hpp"

namespace viaduct::test {

struct Result {
  int code = -1;
  std::string out, err;
};

inline std::string program() {
  const char* build = std::getenv("VIADUCT_BUILD");
  return std::filesystem::absolute(std::string(build ? build : "build") + "/viaduct").string();
}

// A command of bash; never longer than two minutes. $viaduct is the program, and $mpirun starts ranks of any number.
inline Result shell(const std::string& script) {
  TempFolder folder;
  write_bytes(
      folder / "script",
      "viaduct='" + program() +
          "'\nexport OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 "
          "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none\n"
          "mpirun='mpirun --oversubscribe -np'\n" +
          script + "\n");
  auto file = [&](const char* name) { return (folder / name).string(); };
  int status =
      std::system(("timeout -k 5 120 bash " + file("script") + " >" + file("out") + " 2>" + file("err")).c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_bytes(folder / "out"),
          read_bytes(folder / "err")};
}
inline Result viaduct(const std::string& arguments) { return shell("exec \"$viaduct\" " + arguments); }
inline Result ranks(int n, const std::string& arguments) {
  return shell("exec $mpirun " + std::to_string(n) + " \"$viaduct\" " + arguments);
}

inline std::vector<nlohmann::json> json_lines(const std::filesystem::path& path) {
  std::vector<nlohmann::json> objects;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) objects.push_back(nlohmann::json::parse(line));
  return objects;
}

// Small pictures and a tiny model that was trained on them, made once for all tests.
class ProgramTest : public testing::Test {
 protected:
  static std::filesystem::path shared(const std::string& name) { return folder() / name; }
  static std::string scenes() { return shared("scenes").string(); }
  static std::string run() { return shared("run").string(); }
  // What a training of the tiny model needs, without run.output.
  static std::string tiny() { return "--config " + shared("tiny.cfg").string(); }

  static void SetUpTestSuite() {
    if (std::filesystem::exists(shared("run"))) return;
    write_bytes(shared("tiny.cfg"),
                "[model]\nhidden_size = 24\nnum_hidden_layers = 2\nnum_attention_heads = 2\nintermediate_size = 32\n"
                "patch_size = 8\n[data]\nimage_size = 24\nworkers = 1\ntrain = " +
                    scenes() + "/train\neval = " + scenes() +
                    "/eval\n[train]\nbatch_size = 4\nlr = 1e-3\nsteps = 12\n[run]\nlog_every = 1\n");
    Result made = viaduct("scenes " + scenes() + " --scenes.count 120 --scenes.size 24");
    ASSERT_EQ(made.code, 0) << made.err;
    Result trained = ranks(2, "train " + tiny() + " --run.output " + run());
    ASSERT_EQ(trained.code, 0) << trained.err;
  }

  TempFolder own_;  // of one test

 private:
  static const std::filesystem::path& folder() {
    static TempFolder made;
    return made.path();
  }
};

}  // namespace viaduct::test
