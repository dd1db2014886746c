// The stand-in NCCL: ranks are processes of one MPI job, whose emulated devices lie in host memory. Sums are taken in
// the order of the ranks, 16-bit types in fp32. Every collective first compares what the ranks call: where they differ,
// which would hang a GPU, the program ends with a report.
#define OMPI_SKIP_MPICXX 1  // the C++ bindings are not used, and warn
#include <mpi.h>
#include <nccl.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "cuda_bf16.h"
#include "device.hpp"

struct ncclComm {
  MPI_Comm mpi = MPI_COMM_NULL;
  int rank = 0, size = 1;
};

namespace emulation {
namespace {

using Requests = std::vector<MPI_Request>;
using Part = std::function<void(Requests&)>;  // of a group: sends and receives add what is to be waited for

struct Group {
  int depth = 0;
  std::vector<std::pair<cudaStream_t, Part>> parts;
};
thread_local Group group;
thread_local std::string last_error;

ncclResult_t refuse(const std::string& why) {
  last_error = why;
  complain(why);
  return ncclInvalidArgument;
}

size_t bytes_of(ncclDataType_t t) {
  switch (t) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    default:
      return 4;
  }
}

// What a collective must agree in on all ranks.
struct Signature {
  char name[24];
  uint64_t count;
  int32_t type, op, root, unused;
};
std::string text_of(int rank, const Signature& s) {
  return "rank " + std::to_string(rank) + " calls " + s.name + " of " + std::to_string(s.count) + " elements (type " +
         std::to_string(s.type) + ", operation " + std::to_string(s.op) + ", root " + std::to_string(s.root) + ")";
}
void require_agreement(ncclComm_t c, const char* name, size_t count, int type, int op, int root) {
  Signature mine{{}, count, type, op, root, 0};
  std::strncpy(mine.name, name, sizeof mine.name - 1);
  std::vector<Signature> all(size_t(c->size));
  MPI_Allgather(&mine, sizeof mine, MPI_BYTE, all.data(), sizeof mine, MPI_BYTE, c->mpi);
  for (int r = 0; r < c->size; ++r)
    if (std::memcmp(&all[size_t(r)], &mine, sizeof mine))
      die(text_of(c->rank, mine) + ", but " + text_of(r, all[size_t(r)]) + ": a GPU would hang");
}

template <class T>
struct Accumulator {
  using type = T;
};
template <>
struct Accumulator<__nv_bfloat16> {
  using type = float;
};
template <>
struct Accumulator<_Float16> {
  using type = float;
};

template <class T>
void reduce_as(void* to, const std::vector<char>& all, size_t count, int ranks, ncclRedOp_t op) {
  using A = typename Accumulator<T>::type;
  auto* parts = reinterpret_cast<const T*>(all.data());
  for (size_t i = 0; i < count; ++i) {
    A a = A(parts[i]);
    for (int r = 1; r < ranks; ++r) {
      A b = A(parts[size_t(r) * count + i]);
      a = op == ncclProd ? A(a * b) : op == ncclMax ? std::max(a, b) : op == ncclMin ? std::min(a, b) : A(a + b);
    }
    static_cast<T*>(to)[i] = T(op == ncclAvg ? A(a / A(ranks)) : a);
  }
}
void reduce(void* to, const std::vector<char>& all, size_t count, int ranks, ncclDataType_t type, ncclRedOp_t op) {
  switch (type) {
    case ncclInt8:
      return reduce_as<int8_t>(to, all, count, ranks, op);
    case ncclUint8:
      return reduce_as<uint8_t>(to, all, count, ranks, op);
    case ncclInt32:
      return reduce_as<int32_t>(to, all, count, ranks, op);
    case ncclUint32:
      return reduce_as<uint32_t>(to, all, count, ranks, op);
    case ncclInt64:
      return reduce_as<int64_t>(to, all, count, ranks, op);
    case ncclUint64:
      return reduce_as<uint64_t>(to, all, count, ranks, op);
    case ncclFloat16:
      return reduce_as<_Float16>(to, all, count, ranks, op);
    case ncclFloat32:
      return reduce_as<float>(to, all, count, ranks, op);
    case ncclFloat64:
      return reduce_as<double>(to, all, count, ranks, op);
    case ncclBfloat16:
      return reduce_as<__nv_bfloat16>(to, all, count, ranks, op);
  }
}

std::vector<char> gather(ncclComm_t c, const void* from, size_t bytes) {
  std::vector<char> all(bytes * size_t(c->size));
  MPI_Allgather(from, int(bytes), MPI_BYTE, all.data(), int(bytes), MPI_BYTE, c->mpi);
  return all;
}

ncclResult_t enqueue(std::vector<std::pair<cudaStream_t, Part>> parts) {
  ncclResult_t result = ncclSuccess;
  while (!parts.empty()) {  // stream by stream, in the order of the calls
    cudaStream_t stream = parts.front().first;
    auto of_stream = std::make_shared<std::vector<Part>>();
    std::erase_if(parts, [&](auto& p) { return p.first == stream && (of_stream->push_back(p.second), true); });
    cudaError_t e = submit(stream, [of_stream] {
      Requests requests;
      for (const Part& part : *of_stream) part(requests);
      MPI_Waitall(int(requests.size()), requests.data(), MPI_STATUSES_IGNORE);
    });
    if (e != cudaSuccess) result = ncclUnhandledCudaError;
  }
  return result;
}

ncclResult_t add(ncclComm_t c, cudaStream_t stream, size_t count, ncclDataType_t type, Part part) {
  if (!c) return refuse("a collective without a communicator");
  if (type < ncclInt8 || type > ncclBfloat16) return refuse("a collective of an unknown type");
  if (count * bytes_of(type) * size_t(c->size) > INT32_MAX) return refuse("more than 2 GiB at once are not emulated");
  if (!group.depth) return enqueue({{stream, std::move(part)}});
  group.parts.emplace_back(stream, std::move(part));
  return ncclSuccess;
}

void require(const void* p, size_t count, ncclDataType_t type, const char* what) {
  if (count) require_on_device(p, int64_t(count * bytes_of(type)), what);
}

// The id names the rank of the world that made it, which must become rank 0: the others introduce themselves to it, and
// it tells all who they are.
struct Invitation {
  int host, tag;
};
std::vector<int> meet(int size, const Invitation& invitation, int rank) {
  int world = 0, answer = invitation.tag + 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &world);
  if ((rank == 0) != (world == invitation.host))
    die("the emulated NCCL needs rank 0 of a communicator to be the one that called ncclGetUniqueId");
  std::vector<int> members(static_cast<size_t>(size), world);
  if (rank) {
    int introduction[] = {rank, world};
    MPI_Send(introduction, 2, MPI_INT, invitation.host, invitation.tag, MPI_COMM_WORLD);
    MPI_Recv(members.data(), size, MPI_INT, invitation.host, answer, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return members;
  }
  for (int i = 1; i < size; ++i) {
    int introduction[2];
    MPI_Recv(introduction, 2, MPI_INT, MPI_ANY_SOURCE, invitation.tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    members[size_t(introduction[0])] = introduction[1];
  }
  for (int i = 1; i < size; ++i) MPI_Send(members.data(), size, MPI_INT, members[size_t(i)], answer, MPI_COMM_WORLD);
  return members;
}

}  // namespace
}  // namespace emulation

using namespace emulation;

ncclResult_t ncclGetVersion(int* version) { return *version = NCCL_VERSION_CODE, ncclSuccess; }
const char* ncclGetErrorString(ncclResult_t r) { return r == ncclSuccess ? "no error" : "error of the emulated NCCL"; }
const char* ncclGetLastError(ncclComm_t) { return last_error.c_str(); }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static int made = 0;
  Invitation invitation{0, 20000 + 2 * (made++ % 1000)};
  MPI_Comm_rank(MPI_COMM_WORLD, &invitation.host);
  *id = {};
  std::memcpy(id->internal, &invitation, sizeof invitation);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t* comm, int size, ncclUniqueId id, int rank) {
  if (!comm || size < 1 || rank < 0 || rank >= size) return refuse("ncclCommInitRank: no such rank");
  Invitation invitation;
  std::memcpy(&invitation, id.internal, sizeof invitation);
  std::vector<int> members = meet(size, invitation, rank);
  auto* c = new ncclComm{MPI_COMM_NULL, rank, size};
  MPI_Group world, group_of_comm;
  MPI_Comm_group(MPI_COMM_WORLD, &world);
  MPI_Group_incl(world, size, members.data(), &group_of_comm);
  MPI_Comm_create_group(MPI_COMM_WORLD, group_of_comm, invitation.tag, &c->mpi);
  MPI_Group_free(&world), MPI_Group_free(&group_of_comm);
  return *comm = c, ncclSuccess;
}

ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* part, ncclConfig_t*) {
  if (!comm || !part) return refuse("ncclCommSplit without a communicator");
  auto c = std::make_unique<ncclComm>();
  MPI_Comm_split(comm->mpi, color == NCCL_SPLIT_NOCOLOR ? MPI_UNDEFINED : color, key, &c->mpi);
  if (c->mpi == MPI_COMM_NULL) return *part = nullptr, ncclSuccess;
  MPI_Comm_rank(c->mpi, &c->rank), MPI_Comm_size(c->mpi, &c->size);
  return *part = c.release(), ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t) { return finish_everything(), ncclSuccess; }
ncclResult_t ncclCommDestroy(ncclComm_t c) {
  if (!c) return ncclSuccess;
  finish_everything();
  MPI_Comm_free(&c->mpi);
  delete c;
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t c) { return ncclCommDestroy(c); }
ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* r) { return *r = ncclSuccess, ncclSuccess; }
ncclResult_t ncclCommCount(const ncclComm_t c, int* n) { return *n = c->size, ncclSuccess; }
ncclResult_t ncclCommUserRank(const ncclComm_t c, int* rank) { return *rank = c->rank, ncclSuccess; }
ncclResult_t ncclMemAlloc(void** p, size_t bytes) {
  return cudaMalloc(p, bytes) ? ncclUnhandledCudaError : ncclSuccess;
}
ncclResult_t ncclMemFree(void* p) { return cudaFree(p) ? ncclUnhandledCudaError : ncclSuccess; }

ncclResult_t ncclGroupStart() { return ++group.depth, ncclSuccess; }
ncclResult_t ncclGroupEnd() {
  if (!group.depth) return refuse("ncclGroupEnd without ncclGroupStart"), ncclInvalidUsage;
  if (--group.depth) return ncclSuccess;
  return enqueue(std::exchange(group.parts, {}));
}

ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op, ncclComm_t c,
                           cudaStream_t stream) {
  require(from, count, type, "what ncclAllReduce sends"), require(to, count, type, "what ncclAllReduce receives");
  return add(c, stream, count, type, [=](Requests&) {
    require_agreement(c, "ncclAllReduce", count, type, op, 0);
    reduce(to, gather(c, from, count * bytes_of(type)), count, c->size, type, op);
  });
}

ncclResult_t ncclReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op, int root,
                        ncclComm_t c, cudaStream_t stream) {
  require(from, count, type, "what ncclReduce sends");
  if (c && c->rank == root) require(to, count, type, "what ncclReduce receives");
  return add(c, stream, count, type, [=](Requests&) {
    require_agreement(c, "ncclReduce", count, type, op, root);
    auto all = gather(c, from, count * bytes_of(type));
    if (c->rank == root) reduce(to, all, count, c->size, type, op);
  });
}

ncclResult_t ncclReduceScatter(const void* from, void* to, size_t received, ncclDataType_t type, ncclRedOp_t op,
                               ncclComm_t c, cudaStream_t stream) {
  if (c) require(from, received * size_t(c->size), type, "what ncclReduceScatter sends");
  require(to, received, type, "what ncclReduceScatter receives");
  return add(c, stream, received, type, [=](Requests&) {
    require_agreement(c, "ncclReduceScatter", received, type, op, 0);
    int bytes = int(received * bytes_of(type));
    std::vector<char> all(size_t(bytes) * size_t(c->size));
    MPI_Alltoall(from, bytes, MPI_BYTE, all.data(), bytes, MPI_BYTE, c->mpi);
    reduce(to, all, received, c->size, type, op);
  });
}

ncclResult_t ncclAllGather(const void* from, void* to, size_t sent, ncclDataType_t type, ncclComm_t c,
                           cudaStream_t stream) {
  require(from, sent, type, "what ncclAllGather sends");
  if (c) require(to, sent * size_t(c->size), type, "what ncclAllGather receives");
  return add(c, stream, sent, type, [=](Requests&) {
    require_agreement(c, "ncclAllGather", sent, type, 0, 0);
    auto all = gather(c, from, sent * bytes_of(type));
    std::copy(all.begin(), all.end(), static_cast<char*>(to));
  });
}

ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root, ncclComm_t c,
                           cudaStream_t stream) {
  require(to, count, type, "what ncclBroadcast receives");
  if (c && c->rank == root) require(from, count, type, "what ncclBroadcast sends");
  return add(c, stream, count, type, [=](Requests&) {
    require_agreement(c, "ncclBroadcast", count, type, 0, root);
    size_t bytes = count * bytes_of(type);
    if (c->rank == root) std::memmove(to, from, bytes);
    MPI_Bcast(to, int(bytes), MPI_BYTE, root, c->mpi);
  });
}

ncclResult_t ncclSend(const void* from, size_t count, ncclDataType_t type, int peer, ncclComm_t c,
                      cudaStream_t stream) {
  require(from, count, type, "what ncclSend sends");
  return add(c, stream, count, type, [=](Requests& requests) {
    requests.emplace_back();
    MPI_Isend(from, int(count * bytes_of(type)), MPI_BYTE, peer, 0, c->mpi, &requests.back());
  });
}

ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t c, cudaStream_t stream) {
  require(to, count, type, "what ncclRecv receives");
  return add(c, stream, count, type, [=](Requests& requests) {
    requests.emplace_back();
    MPI_Irecv(to, int(count * bytes_of(type)), MPI_BYTE, peer, 0, c->mpi, &requests.back());
  });
}
