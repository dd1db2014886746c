#include "comm/mpi_world.hpp"

#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include <cstdlib>
#include <new>

#include "comm/launch.hpp"
#include "comm/mpi_check.hpp"
#include "comm/mpi_comm.hpp"
#include "comm/nccl_comm.hpp"
#include "comm/self_comm.hpp"
#include "core/base/log.hpp"

namespace viaduct {
namespace {

constexpr double kAgreementSeconds = 0.5;  // how long a failing rank waits for the others to fail too
MPI_Comm failing = MPI_COMM_NULL;          // all ranks, for the last words only

#ifdef OPEN_MPI
constexpr bool kSpeaksPmi = false;  // as distributions build it
#else
constexpr bool kSpeaksPmi = true;
#endif

bool started_by_launcher() {
  for (const char* name : {"PMIX_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE"})
    if (std::getenv(name)) return true;
  return false;
}

bool mpi_is_running() {
  int started = 0, ended = 0;
  MPI_Initialized(&started), MPI_Finalized(&ended);
  return started && !ended;
}

// VIADUCT_HOST: where hosts call themselves alike, as containers may.
std::string host_name() {
  if (const char* given = std::getenv("VIADUCT_HOST"); given && *given) return given;
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

std::string library_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  mpi_check(MPI_Get_library_version(text, &length), "MPI_Get_library_version");
  const std::string all(text, size_t(length));
  return all.substr(0, all.find_first_of(",\n"));
}

struct Failure {
  int64_t code = 0;
  uint64_t message = 0;  // hash
  bool operator==(const Failure&) const = default;
};

// True if all ranks fail now, and a lower rank with the same message says it for this one.
bool another_rank_says_it(const Failure& failure, int rank, int size) {
  static const Failure mine = failure;  // static: after a time-out MPI still holds their addresses
  static std::vector<Failure> all(size_t(size), Failure{});
  MPI_Request request;
  mpi_check(MPI_Iallgather(&mine, sizeof mine, MPI_BYTE, all.data(), sizeof mine, MPI_BYTE, failing, &request),
            "MPI_Iallgather");
  if (!mpi_wait(request, "MPI_Iallgather", kAgreementSeconds)) return false;
  for (int r = 0; r < rank; ++r)
    if (all[size_t(r)] == mine) return true;
  return false;
}

int end_with(Exit code, const std::string& message) {
  if (!mpi_is_running()) {  // each process of a launch that failed would say the same
    if (log::identity().rank == 0) log::error("{}", message);
    return int(code);
  }
  if (failing != MPI_COMM_NULL && log::identity().size > 1) {
    Failure mine{int64_t(code), std::hash<std::string>{}(message)};
    bool silent = false;
    try {
      silent = another_rank_says_it(mine, log::identity().rank, log::identity().size);
    } catch (const Error&) {  // MPI itself is what fails: say the first message
    }
    if (silent) {  // the rank that speaks ends this one; should it not come to that, this one ends itself
      ::sleep(2);
      MPI_Abort(MPI_COMM_WORLD, int(code));
    }
  }
  end_all_ranks(code, message);
}

}  // namespace

World start_world() {
  World world{.host = host_name()};
  refuse_separate_tasks(world.host, kSpeaksPmi);
  if (!started_by_launcher()) {
    log::set_identity({0, 1, world.host});
    return world;
  }
  int provided = 0;
#ifdef __SANITIZE_ADDRESS__
  __lsan::ScopedDisabler what_mpi_keeps_is_not_ours;
#endif
  mpi_check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
  for (MPI_Comm comm : {MPI_COMM_WORLD, MPI_COMM_SELF})
    mpi_check(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  mpi_check(MPI_Comm_rank(MPI_COMM_WORLD, &world.rank), "MPI_Comm_rank");
  mpi_check(MPI_Comm_size(MPI_COMM_WORLD, &world.size), "MPI_Comm_size");
  log::set_identity({world.rank, world.size, world.host});
  refuse_foreign_launcher(world.size, library_version());
  if (provided != MPI_THREAD_MULTIPLE)
    fail_config(
        fmt::format("this MPI library gives threads level {} where MPI_THREAD_MULTIPLE ({}) is needed by the "
                    "communication thread; use an Open MPI that was built with it (ompi_info | grep THREAD_MULTIPLE)",
                    provided, MPI_THREAD_MULTIPLE));
  MPI_Comm local;
  mpi_check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local), "MPI_Comm_split_type");
  mpi_check(MPI_Comm_rank(local, &world.local_rank), "MPI_Comm_rank");
  mpi_check(MPI_Comm_size(local, &world.local_size), "MPI_Comm_size");
  mpi_check(MPI_Comm_free(&local), "MPI_Comm_free");
  mpi_check(MPI_Comm_dup(MPI_COMM_WORLD, &failing), "MPI_Comm_dup");
  return world;
}

void stop_world() {
  if (!mpi_is_running()) return;
  mpi_check(MPI_Comm_free(&failing), "MPI_Comm_free");
#ifdef __SANITIZE_ADDRESS__
  __lsan_do_leak_check();  // now: MPI is about to unload its plugins, and suppressions could not name them any more
#endif
  mpi_check(MPI_Finalize(), "MPI_Finalize");
}

std::unique_ptr<Communicator> world_communicator(const World& world) {
  if (world.size == 1) return std::make_unique<SelfComm>();
  return make_nccl_comm(make_mpi_comm());
}

void end_all_ranks(Exit code, const std::string& message) {
  log::error("{}", message);
  std::fflush(nullptr);
  ::alarm(5);  // should MPI_Abort itself hang
  if (mpi_is_running()) MPI_Abort(MPI_COMM_WORLD, int(code));
  std::_Exit(int(code));
}

int run_ranks_main(const std::function<int(const World&, Communicator&)>& body) {
  try {
    World world = start_world();
    int code = 0;
    {
      auto comm = world_communicator(world);
      code = body(world, *comm);
    }
    stop_world();
    return code;
  } catch (const Error& e) {
    std::string place = e.code() == Exit::crash ? fmt::format(" ({}:{})", e.where().file_name(), e.where().line()) : "";
    return end_with(e.code(), e.what() + place);
  } catch (const std::bad_alloc&) {
    return end_with(Exit::crash, "out of memory; try a smaller train.batch_size");
  } catch (const std::exception& e) {
    return end_with(Exit::crash, e.what());
  }
}

}  // namespace viaduct
