#include "app/commands.hpp"
#include "comm/process.hpp"

int main(int argc, char** argv) {
  viaduct::prepare_process(argv);
  return viaduct::run_ranks_main([&](const viaduct::World& world, viaduct::Communicator& comm) {
    return viaduct::app::run_command({argv + 1, argv + argc}, world, comm);
  });
}
