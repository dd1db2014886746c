#include "comm/mpi_comm.hpp"

#include <algorithm>
#include <chrono>
#include <exception>

#include "comm/direct_reduce.hpp"
#include "comm/host_group.hpp"
#include "comm/mpi_check.hpp"

namespace viaduct {
namespace {

// MPI has no bfloat16. These two never round; sums go another way (sum_bf16).
template <Reduce op>
void reduce_bf16(void* in, void* in_out, int* count, MPI_Datatype*) {
  direct_reduce({in_out, in}, {in_out}, DType::bf16, op, {0, *count});
}

MPI_Op bf16_operation(Reduce op) {
  static const auto make = [](MPI_User_function* f) {
    MPI_Op made;
    mpi_check(MPI_Op_create(f, 1, &made), "MPI_Op_create for bf16");
    return made;
  };
  static MPI_Op largest = make(reduce_bf16<Reduce::max>), smallest = make(reduce_bf16<Reduce::min>);
  return op == Reduce::max ? largest : smallest;
}

MPI_Datatype datatype(DType t) {
  switch (t) {
    case DType::f32:
      return MPI_FLOAT;
    case DType::bf16:
      return MPI_UINT16_T;
    case DType::f64:
      return MPI_DOUBLE;
    case DType::i32:
      return MPI_INT32_T;
    case DType::i64:
      return MPI_INT64_T;
    case DType::u8:
      return MPI_UINT8_T;
  }
  return MPI_DATATYPE_NULL;
}

MPI_Op operation(Reduce op, DType t) {
  if (t == DType::bf16) return bf16_operation(op);
  return op == Reduce::sum ? MPI_SUM : op == Reduce::max ? MPI_MAX : MPI_MIN;
}

constexpr int64_t kSumWindow = int64_t(1) << 22;  // elements of bf16 whose addends are held at a time
constexpr int64_t kSmallest = 4096;               // bytes: below, a message is as quick as meeting in shared memory

class MpiComm final : public Communicator {
 public:
  MpiComm(MPI_Comm parent, const MpiOptions& options, std::shared_ptr<PeerBuffers> buffers)
      : options_(options), buffers_(std::move(buffers)) {
    mpi_check(MPI_Comm_dup(parent, &comm_), "MPI_Comm_dup");
    mpi_check(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    mpi_check(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
    mpi_check(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
    if (options_.share_memory && all_on_this_host()) group_ = HostGroup::make(*this);
  }
  ~MpiComm() override {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (!finalized && !std::uncaught_exceptions()) MPI_Comm_free(&comm_);  // with failed peers it could wait for ever
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const char* name(Device) const override { return group_ ? "mpi, shared memory" : "mpi"; }

  void all_reduce(Tensor t, Reduce op, Stream&) override {
    if (group_ && t.bytes() >= kSmallest && group_->all_reduce(t, op, *buffers_)) return;
    if (rounds(t, op)) return sum_bf16(t, {}, true);
    in_pieces(t, [&](Tensor piece, int count) {
      run(fmt::format("MPI_Iallreduce of {} over {} ranks", to_string(piece), size_), [&](MPI_Request* request) {
        return MPI_Iallreduce(MPI_IN_PLACE, piece.data, count, datatype(t.dtype), operation(op, t.dtype), comm_,
                              request);
      });
    });
  }

  void reduce_scatter(Tensor shard, Tensor full, Reduce op, Stream&) override {
    check_shards(shard, full);
    if (rounds(full, op)) {
      std::vector<Range> parts;
      for (int r = 0; r < size_; ++r) parts.push_back({r * shard.numel(), (r + 1) * shard.numel()});
      sum_bf16(full, parts, false);
      std::copy_n(data<bf16>(shard_of(full, shard, rank_)), shard.numel(), data<bf16>(shard));
      return;
    }
    for (int root = 0; root < size_; ++root) reduce(shard, shard_of(full, shard, root), op, root);
  }

  void all_gather(Tensor full, Tensor shard, Stream& stream) override {
    check_shards(shard, full);
    Tensor mine = shard_of(full, shard, rank_);
    if (mine.data != shard.data)
      std::copy_n(static_cast<std::byte*>(shard.data), shard.bytes(), static_cast<std::byte*>(mine.data));
    if (shard.numel() > options_.largest_count) {
      for (int root = 0; root < size_; ++root) broadcast(shard_of(full, shard, root), root, stream);
      return;
    }
    const int count = int(shard.numel());
    run(fmt::format("MPI_Iallgather of {} from each of {} ranks", to_string(shard), size_), [&](MPI_Request* request) {
      return MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, full.data, count, datatype(full.dtype), comm_, request);
    });
  }

  void reduce_parts(Tensor t, const std::vector<Range>& parts, Reduce op, Stream&) override {
    if (group_ && t.bytes() >= kSmallest && group_->reduce_parts(t, parts, op, *buffers_)) return;
    if (rounds(t, op)) return sum_bf16(t, parts, false);
    for (int root = 0; root < size_; ++root) {
      const Range part = parts[size_t(root)];
      if (!part.empty()) reduce(t.slice(part.begin, part.end), t.slice(part.begin, part.end), op, root);
    }
  }

  void gather_parts(Tensor t, const std::vector<Range>& parts, Stream& stream) override {
    if (group_ && t.bytes() >= kSmallest && group_->gather_parts(t, parts, *buffers_)) return;
    for (int root = 0; root < size_; ++root) {
      const Range part = parts[size_t(root)];
      if (!part.empty()) broadcast(t.slice(part.begin, part.end), root, stream);
    }
  }

  void broadcast(Tensor t, int root, Stream&) override {
    in_pieces(t, [&](Tensor piece, int count) {
      run(fmt::format("MPI_Ibcast of {} from rank {}", to_string(piece), root),
          [&](MPI_Request* request) { return MPI_Ibcast(piece.data, count, datatype(t.dtype), root, comm_, request); });
    });
  }

  void barrier() override {
    run("MPI_Ibarrier", [&](MPI_Request* request) { return MPI_Ibarrier(comm_, request); });
  }

  std::vector<std::string> all_gather_text(const std::string& mine) override {
    Stream stream(Device::cpu());
    std::vector<int64_t> lengths(size_t(size_), 0);
    lengths[size_t(rank_)] = int64_t(mine.size());
    Tensor all_lengths{lengths.data(), {size_}, DType::i64, Device::cpu()};
    all_gather(all_lengths, all_lengths.slice(rank_, rank_ + 1), stream);
    std::vector<std::string> texts(lengths.size());
    for (int r = 0; r < size_; ++r) {
      std::string& text = texts[size_t(r)];
      text = r == rank_ ? mine : std::string(size_t(lengths[size_t(r)]), '\0');
      broadcast({text.data(), {lengths[size_t(r)]}, DType::u8, Device::cpu()}, r, stream);
    }
    return texts;
  }

  std::unique_ptr<Communicator> duplicate() override { return std::make_unique<MpiComm>(comm_, options_, buffers_); }
  Buffer allocate(Device device, int64_t bytes) override {
    return group_ ? buffers_->allocate(device, bytes) : allocate_for_peers(device, bytes);
  }

 private:
  bool all_on_this_host() const {
    MPI_Comm local;
    int local_size = 0;
    mpi_check(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local), "MPI_Comm_split_type");
    mpi_check(MPI_Comm_size(local, &local_size), "MPI_Comm_size");
    mpi_check(MPI_Comm_free(&local), "MPI_Comm_free");
    return local_size == size_ && size_ > 1;
  }

  template <class Start>
  void run(const std::string& call, Start&& start) {
    MPI_Request request;
    mpi_check(start(&request), call);
    mpi_wait(request, call);
  }

  bool rounds(const Tensor& t, Reduce op) const { return t.dtype == DType::bf16 && op == Reduce::sum; }

  // A ring would round at every hop. Every rank gets all addends of its part, sums them in fp32 in the order of the ranks
  // and rounds once; `everywhere`: then the parts, of even size, are gathered. In windows, for the sake of the addends.
  void sum_bf16(const Tensor& t, const std::vector<Range>& parts, bool everywhere) {
    expect(t.device.kind == Device::Kind::cpu, "the mpi communicator exchanges host memory");
    const int64_t window = std::min<int64_t>(options_.largest_count, kSumWindow);
    std::vector<int> counts(size_t(size_), 0), offsets = counts, received = counts, places = counts;
    std::vector<bf16> addends;
    for (int64_t begin = 0; begin < t.numel(); begin += window) {
      const int64_t n = std::min(window, t.numel() - begin);
      bf16* piece = data<bf16>(t) + begin;
      auto part_of = [&](int r) {
        if (everywhere) return reduce_part(n, r, size_);
        return Range{std::clamp(parts[size_t(r)].begin - begin, int64_t(0), n),
                     std::clamp(parts[size_t(r)].end - begin, int64_t(0), n)};
      };
      const Range mine = part_of(rank_);
      const int64_t own = std::max<int64_t>(mine.size(), 0);
      addends.resize(size_t(own * size_));
      std::vector<const void*> sources;
      for (int r = 0; r < size_; ++r) {
        const Range part = part_of(r);
        counts[size_t(r)] = int(std::max<int64_t>(part.size(), 0)), offsets[size_t(r)] = int(part.begin);
        received[size_t(r)] = int(own), places[size_t(r)] = int(own * r);
        sources.push_back(addends.data() + own * r);
      }
      const std::string what = fmt::format("bf16 [{}] over {} ranks", n, size_);
      run("MPI_Ialltoallv of " + what, [&](MPI_Request* request) {
        return MPI_Ialltoallv(piece, counts.data(), offsets.data(), MPI_UINT16_T, addends.data(), received.data(),
                              places.data(), MPI_UINT16_T, comm_, request);
      });
      direct_reduce(sources, {piece + mine.begin}, DType::bf16, Reduce::sum, {0, own});
      if (everywhere)
        run("MPI_Iallgatherv of " + what, [&](MPI_Request* request) {
          return MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_UINT16_T, piece, counts.data(), offsets.data(), MPI_UINT16_T,
                                 comm_, request);
        });
    }
  }

  // `result` matters on the root alone, and may be `t` itself.
  void reduce(const Tensor& result, const Tensor& t, Reduce op, int root) {
    Tensor mine = result.reshape({result.numel()});
    int64_t offset = 0;
    in_pieces(t, [&](Tensor piece, int count) {
      Tensor to = mine.slice(offset, offset + count);
      offset += count;
      bool in_place = root == rank_ && to.data == piece.data;
      run(fmt::format("MPI_Ireduce of {} to rank {}", to_string(piece), root), [&](MPI_Request* request) {
        return MPI_Ireduce(in_place ? MPI_IN_PLACE : piece.data, root == rank_ ? to.data : nullptr, count,
                           datatype(piece.dtype), operation(op, piece.dtype), root, comm_, request);
      });
    });
  }

  template <class F>
  void in_pieces(const Tensor& t, F&& f) {
    expect(t.device.kind == Device::Kind::cpu, "the mpi communicator exchanges host memory");
    const Tensor flat = t.reshape({t.numel()});
    for (int64_t begin = 0; begin < t.numel(); begin += options_.largest_count) {
      int64_t end = std::min(t.numel(), begin + options_.largest_count);
      f(flat.slice(begin, end), int(end - begin));
    }
  }

  void check_shards(const Tensor& shard, const Tensor& full) const {
    expect(full.numel() == shard.numel() * size_ && full.dtype == shard.dtype,
           fmt::format("{} is {} shards of {}", to_string(full), size_, to_string(shard)));
  }
  static Tensor shard_of(const Tensor& full, const Tensor& shard, int rank) {
    return full.reshape({full.numel()}).slice(rank * shard.numel(), (rank + 1) * shard.numel());
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1;
  MpiOptions options_;
  std::shared_ptr<PeerBuffers> buffers_;
  std::unique_ptr<HostGroup> group_;  // absent across hosts
};

}  // namespace

bool mpi_wait(MPI_Request& request, std::string_view call, double give_up_seconds) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  for (int tests = 0;; ++tests) {
    int done = 0;
    mpi_check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), call);
    if (done) return true;
    if (tests < 50) continue;  // some 10 microseconds: what is about to arrive is not slept over
    const auto waited = Clock::now() - start;
    if (give_up_seconds >= 0 && std::chrono::duration<double>(waited).count() > give_up_seconds) return false;
    // A tenth of what was waited already: short for small messages, rare wake-ups for long ones.
    std::this_thread::sleep_for(
        std::clamp<Clock::duration>(waited / 10, std::chrono::microseconds(20), std::chrono::microseconds(500)));
  }
}

void mpi_library_all_reduce(Tensor t) {
  mpi_check(MPI_Allreduce(MPI_IN_PLACE, t.data, int(t.numel()), datatype(t.dtype), operation(Reduce::sum, t.dtype),
                          MPI_COMM_WORLD),
            "MPI_Allreduce of " + to_string(t));
}

std::unique_ptr<Communicator> make_mpi_comm(const MpiOptions& options) {
  return std::make_unique<MpiComm>(MPI_COMM_WORLD, options, std::make_shared<PeerBuffers>());
}

}  // namespace viaduct
