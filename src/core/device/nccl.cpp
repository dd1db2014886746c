#include "core/device/nccl.hpp"

#include <dlfcn.h>

#include <cstring>

#include "core/base/check.hpp"

#if VIADUCT_CUDA && __has_include(<nccl.h>)
#include <nccl.h>
#define VIADUCT_NCCL 1
#else
#define VIADUCT_NCCL 0
#endif

namespace viaduct::nccl {

#if VIADUCT_NCCL
namespace {

struct Library {
  decltype(&ncclGetErrorString) error_string;
  decltype(&ncclGetUniqueId) unique_id;
  decltype(&ncclCommInitRank) init;
  decltype(&ncclCommFinalize) finalize;
  decltype(&ncclCommDestroy) destroy;
  decltype(&ncclCommAbort) abort;
  decltype(&ncclCommGetAsyncError) async_error;
  decltype(&ncclGroupStart) group_start;
  decltype(&ncclGroupEnd) group_end;
  decltype(&ncclAllReduce) all_reduce;
  decltype(&ncclReduce) reduce;
  decltype(&ncclReduceScatter) reduce_scatter;
  decltype(&ncclAllGather) all_gather;
  decltype(&ncclBroadcast) broadcast;
};

void* open_library() {
  if (dlsym(RTLD_DEFAULT, "ncclAllReduce")) return RTLD_DEFAULT;
  if (void* library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL)) return library;
  const char* why = dlerror();
  fail(Exit::config,
       fmt::format("GPUs of several ranks exchange gradients by NCCL, and libnccl.so.2 cannot be loaded: {}; "
                   "install libnccl2, or name its folder in LD_LIBRARY_PATH; or start one rank",
                   why ? why : "no reason was given"));
}

template <class F>
void look_up(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  if (!function)
    fail(Exit::config, fmt::format("the NCCL that was found has no function {}; install version 2.14 or newer", name));
}

const Library& library() {
  static const Library loaded = [] {
    void* from = open_library();
    Library l{};
    look_up(from, "ncclGetErrorString", l.error_string);
    look_up(from, "ncclGetUniqueId", l.unique_id);
    look_up(from, "ncclCommInitRank", l.init);
    look_up(from, "ncclCommFinalize", l.finalize);
    look_up(from, "ncclCommDestroy", l.destroy);
    look_up(from, "ncclCommAbort", l.abort);
    look_up(from, "ncclCommGetAsyncError", l.async_error);
    look_up(from, "ncclGroupStart", l.group_start);
    look_up(from, "ncclGroupEnd", l.group_end);
    look_up(from, "ncclAllReduce", l.all_reduce);
    look_up(from, "ncclReduce", l.reduce);
    look_up(from, "ncclReduceScatter", l.reduce_scatter);
    look_up(from, "ncclAllGather", l.all_gather);
    look_up(from, "ncclBroadcast", l.broadcast);
    return l;
  }();
  return loaded;
}

void check(ncclResult_t result, const char* call, std::source_location where = std::source_location::current()) {
  if (result == ncclSuccess) return;
  fail(Exit::crash,
       fmt::format("{}: NCCL says '{}'; NCCL_DEBUG=INFO in the environment of all ranks makes it say why", call,
                   library().error_string(result)),
       where);
}

ncclComm_t as_comm(void* comm) { return static_cast<ncclComm_t>(comm); }
cudaStream_t native(Stream& stream) { return static_cast<cudaStream_t>(stream.native()); }

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return ncclFloat32;
    case DType::bf16:
      return ncclBfloat16;
    case DType::f64:
      return ncclFloat64;
    default:
      fail(Exit::crash, fmt::format("NCCL is not asked to carry {}", name_of(dtype)));
  }
}

ncclRedOp_t op_of(Reduce op) { return op == Reduce::sum ? ncclSum : op == Reduce::max ? ncclMax : ncclMin; }

}  // namespace

std::string new_id() {
  ncclUniqueId id;
  check(library().unique_id(&id), "ncclGetUniqueId");
  return {id.internal, sizeof id.internal};
}

void* connect(const std::string& id, int ranks, int rank) {
  ncclUniqueId unique;
  expect(id.size() == sizeof unique.internal, "an id is what new_id() made");
  std::memcpy(unique.internal, id.data(), id.size());
  ncclComm_t comm = nullptr;
  check(library().init(&comm, ranks, unique, rank), "ncclCommInitRank");
  return comm;
}

void close(void* comm) {
  check(library().finalize(as_comm(comm)), "ncclCommFinalize");
  check(library().destroy(as_comm(comm)), "ncclCommDestroy");
}

void abandon(void* comm) noexcept { library().abort(as_comm(comm)); }

std::string trouble(void* comm) {
  ncclResult_t state = ncclSuccess;
  check(library().async_error(as_comm(comm), &state), "ncclCommGetAsyncError");
  return state == ncclSuccess || state == ncclInProgress ? "" : library().error_string(state);
}

void all_reduce(void* comm, Tensor t, Reduce op, Stream& stream) {
  check(library().all_reduce(t.data, t.data, size_t(t.numel()), type_of(t.dtype), op_of(op), as_comm(comm),
                             native(stream)),
        "ncclAllReduce");
}

void reduce_scatter(void* comm, Tensor shard, Tensor full, Reduce op, Stream& stream) {
  check(library().reduce_scatter(full.data, shard.data, size_t(shard.numel()), type_of(full.dtype), op_of(op),
                                 as_comm(comm), native(stream)),
        "ncclReduceScatter");
}

void all_gather(void* comm, Tensor full, Tensor shard, Stream& stream) {
  check(library().all_gather(shard.data, full.data, size_t(shard.numel()), type_of(full.dtype), as_comm(comm),
                             native(stream)),
        "ncclAllGather");
}

void reduce(void* comm, Tensor t, Reduce op, int root, Stream& stream) {
  check(library().reduce(t.data, t.data, size_t(t.numel()), type_of(t.dtype), op_of(op), root, as_comm(comm),
                         native(stream)),
        "ncclReduce");
}

void broadcast(void* comm, Tensor t, int root, Stream& stream) {
  check(library().broadcast(t.data, t.data, size_t(t.numel()), type_of(t.dtype), root, as_comm(comm), native(stream)),
        "ncclBroadcast");
}

void together(const std::function<void()>& several) {
  check(library().group_start(), "ncclGroupStart");
  several();
  check(library().group_end(), "ncclGroupEnd");
}

#else

namespace {
[[noreturn]] void fail_not_built() {
  fail(Exit::config,
       "GPUs of several ranks exchange gradients by NCCL, and this program was built without it: install "
       "libnccl-dev and build again, or start one rank");
}
}  // namespace

std::string new_id() { fail_not_built(); }
void* connect(const std::string&, int, int) { fail_not_built(); }
void close(void*) {}
void abandon(void*) noexcept {}
std::string trouble(void*) { return {}; }
void all_reduce(void*, Tensor, Reduce, Stream&) { fail_not_built(); }
void reduce_scatter(void*, Tensor, Tensor, Reduce, Stream&) { fail_not_built(); }
void all_gather(void*, Tensor, Tensor, Stream&) { fail_not_built(); }
void reduce(void*, Tensor, Reduce, int, Stream&) { fail_not_built(); }
void broadcast(void*, Tensor, int, Stream&) { fail_not_built(); }
void together(const std::function<void()>&) { fail_not_built(); }

#endif

}  // namespace viaduct::nccl
